//! A stored file as an answer: all of it, a part, or nothing because the client has it already.
//!
//! What was asked for is read by [`Asked`] (RFC 9110, sections 13 and 14); the file's SHA-256 is its strong entity tag. Until
//! that is settled the artifact store is not touched, and from there only bytes come that have been compared with their
//! digest. Files are to be kept, not shown: only a PDF that we have made ourselves may open in the browser.

use std::ops::Range;

use axum::{
    Json,
    body::Body,
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use headers::{ContentRange, ETag, HeaderMapExt, IfMatch, IfNoneMatch, IfRange};
use http_range_header::{
    EndPosition, RangeUnsatisfiableError, StartPosition, SyntacticallyCorrectRange, parse_range_header,
};
use store::reports::Artifact;

use crate::{
    error::{ApiError, ErrorBody},
    layers::REPR_DIGEST,
    state::AppState,
};

/// A longer name is cut, so that no file system refuses it.
const LONGEST_NAME: usize = 150;
const PDF: &str = "application/pdf";

/// What a request wants of a file.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    method: Method,
    headers: HeaderMap,
}

impl FromRequestParts<AppState> for Asked {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, ApiError> {
        Ok(Self { method: parts.method.clone(), headers: parts.headers.clone() })
    }
}

/// What a request gets of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Portion {
    Whole,
    Part(Range<u64>),
    /// The head alone, as HEAD asks.
    Head,
    /// The client's copy is the same.
    NotModified,
    /// The client wants another file than this one has become.
    Another,
    /// No byte of the range exists.
    Unsatisfiable,
}

/// Whoever gets a byte from before this has begun to fetch the file. Viewers ask for what comes behind in parts.
const BEGINNING: u64 = 64 << 10;

impl Portion {
    /// True when somebody begins to fetch the file: it is recorded then, and not with every part that a viewer asks for.
    pub(crate) fn begins(&self) -> bool {
        match self {
            Self::Whole => true,
            Self::Part(part) => part.start < BEGINNING,
            Self::Head | Self::NotModified | Self::Another | Self::Unsatisfiable => false,
        }
    }
}

impl Asked {
    /// True when the head alone is wanted: nothing is made for that.
    pub(crate) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// The portion of a file of `length` bytes whose entity tag is `tag`. Conditions come before ranges, and a range holds for
    /// GET alone (RFC 9110, sections 13.2.2 and 14.2). Of several ranges none is taken: the whole file is an answer to them too.
    pub(crate) fn portion(&self, tag: &ETag, length: u64) -> Portion {
        let headers = &self.headers;
        if headers.typed_get::<IfMatch>().is_some_and(|wanted| !wanted.precondition_passes(tag)) {
            return Portion::Another;
        }
        if headers.typed_get::<IfNoneMatch>().is_some_and(|had| !had.precondition_passes(tag)) {
            return Portion::NotModified;
        }
        if self.method != Method::GET {
            return Portion::Head;
        }
        let Some(range) = headers.get(header::RANGE).and_then(|range| range.to_str().ok()) else {
            return Portion::Whole;
        };
        let has_changed = match headers.contains_key(header::IF_RANGE) {
            true => headers.typed_get::<IfRange>().is_none_or(|had| had.is_modified(Some(tag), None)),
            false => false,
        };
        match parse_range_header(range).as_ref().map(|parsed| parsed.ranges.as_slice()) {
            Ok(_) if has_changed => Portion::Whole,
            Ok([range]) => part(range, length),
            Err(RangeUnsatisfiableError::ZeroSuffix) => Portion::Unsatisfiable,
            // What cannot be understood is ignored.
            Ok(_) | Err(_) => Portion::Whole,
        }
    }
}

/// The part of a file of `length` bytes that `range` means (RFC 9110, section 14.1.2).
fn part(range: &SyntacticallyCorrectRange, length: u64) -> Portion {
    let start = match range.start {
        StartPosition::Index(first) => first,
        StartPosition::FromLast(count) => length.saturating_sub(count),
    };
    let end = match range.end {
        // Backwards is no range at all.
        EndPosition::Index(last) if last < start => return Portion::Whole,
        EndPosition::Index(last) => length.min(last.saturating_add(1)),
        EndPosition::LastByte => length,
    };
    if start < end { Portion::Part(start..end) } else { Portion::Unsatisfiable }
}

/// Whether a browser may show the file or has to keep it, and what it may remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// To be saved.
    Attachment,
    /// In the browser, if it is a PDF.
    Inline,
    /// To be saved, from a link that stands for itself: found by no search engine, kept by no cache.
    Shared,
}

/// The strong entity tag of an artifact.
pub(crate) fn entity_tag(artifact: &Artifact) -> ETag {
    format!("\"{}\"", hex::encode(&artifact.sha256)).parse().expect("hexadecimal digits in quotes are a tag")
}

/// What `asked` gets of `artifact`.
pub(crate) fn portion(asked: &Asked, artifact: &Artifact) -> Portion {
    asked.portion(&entity_tag(artifact), artifact.byte_count.unsigned_abs())
}

/// Sends `portion` of `artifact`.
pub(crate) async fn send(
    app: &AppState,
    artifact: &Artifact,
    portion: Portion,
    show: Show,
) -> Result<Response, ApiError> {
    let length = artifact.byte_count.unsigned_abs();
    let mut head = HeaderMap::new();
    head.typed_insert(entity_tag(artifact));
    head.extend(keeping(show));
    let (status, part) = match portion {
        Portion::NotModified => return Ok((StatusCode::NOT_MODIFIED, head).into_response()),
        Portion::Another => {
            let detail = "The file is not the one of If-Match: fetch it without";
            let body = Json(ErrorBody { detail: detail.into() });
            return Ok((StatusCode::PRECONDITION_FAILED, body).into_response());
        }
        Portion::Unsatisfiable => {
            head.typed_insert(ContentRange::unsatisfied_bytes(length));
            let detail = format!("The file has {length} bytes: ask for a range among them");
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, head, Json(ErrorBody { detail })).into_response());
        }
        Portion::Head => (StatusCode::OK, None),
        Portion::Whole => (StatusCode::OK, Some(0..length)),
        Portion::Part(part) => (StatusCode::PARTIAL_CONTENT, Some(part)),
    };
    let shown = show == Show::Inline && artifact.media_type == PDF;
    head.extend(describing(artifact, shown)?);
    let Some(part) = part else {
        head.insert(header::CONTENT_LENGTH, length.into());
        return Ok((status, head).into_response());
    };
    let read = app.artifacts.read(&artifact.storage_key, &artifact.sha256).await;
    let file = read.map_err(|error| match error {
        away if away.is_transient() => ApiError::Unavailable(away.into()),
        // The row is there, so a file that is not is our fault.
        broken => ApiError::Internal(broken.into()),
    })?;
    if status == StatusCode::PARTIAL_CONTENT {
        let range = ContentRange::bytes(part.clone(), length).map_err(anyhow::Error::from)?;
        head.typed_insert(range);
    }
    head.insert(header::CONTENT_LENGTH, (part.end - part.start).into());
    Ok((status, head, Body::from_stream(file.stream(part))).into_response())
}

/// Headers about what the file is.
fn describing(artifact: &Artifact, shown: bool) -> Result<HeaderMap, ApiError> {
    let value = |text: String| HeaderValue::try_from(text).map_err(anyhow::Error::from);
    // A sandbox would keep the browser's own viewer from opening the PDF. Neither may load anything.
    let policy = if shown {
        "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'self'"
    } else {
        "sandbox; default-src 'none'; frame-ancestors 'none'"
    };
    Ok(HeaderMap::from_iter([
        (header::CONTENT_TYPE, value(artifact.media_type.clone())?),
        (header::CONTENT_DISPOSITION, value(disposition(&artifact.file_name, shown))?),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)),
        (REPR_DIGEST, value(format!("sha-256=:{}:", STANDARD.encode(&artifact.sha256)))?),
    ]))
}

/// Headers about who may keep a copy.
fn keeping(show: Show) -> HeaderMap {
    const ROBOTS: HeaderName = HeaderName::from_static("x-robots-tag");
    match show {
        // Kept, but asked about with every use, which If-None-Match makes cheap.
        Show::Attachment | Show::Inline => {
            HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"))])
        }
        Show::Shared => HeaderMap::from_iter([
            (header::CACHE_CONTROL, HeaderValue::from_static("private, no-store")),
            (ROBOTS, HeaderValue::from_static("noindex, nofollow")),
        ]),
    }
}

/// The file name for every client: in ASCII, and as it is (RFC 6266, section 4.3; RFC 8187).
pub(crate) fn disposition(name: &str, shown: bool) -> String {
    let name = shortened(name);
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._- ".contains(c) { c } else { '_' };
    let ascii: String = name.chars().map(plain).collect();
    let encoded: String = name
        .bytes()
        .map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect();
    let kind = if shown { "inline" } else { "attachment" };
    format!("{kind}; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
}

/// `name` within [`LONGEST_NAME`], its ending kept.
fn shortened(name: &str) -> String {
    if name.len() <= LONGEST_NAME {
        return name.to_owned();
    }
    let (stem, ending) = name.rsplit_once('.').filter(|(_, ending)| ending.len() < 16).unwrap_or((name, ""));
    let room = LONGEST_NAME - ending.len() - 1;
    let end = (0..=room).rev().find(|&end| stem.is_char_boundary(end)).unwrap_or(0);
    if ending.is_empty() { stem[..end].to_owned() } else { format!("{}.{ending}", &stem[..end]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: u64 = 1000;

    fn tag() -> ETag {
        "\"abc\"".parse().expect("a tag")
    }

    fn portion(method: Method, headers: &[(&'static str, &'static str)]) -> Portion {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value)))
            .collect();
        Asked { method, headers }.portion(&tag(), LENGTH)
    }

    fn get(headers: &[(&'static str, &'static str)]) -> Portion {
        portion(Method::GET, headers)
    }

    #[test]
    fn who_leaves_out_the_first_bytes_has_begun_as_well_and_who_reads_on_has_not() {
        for (portion, begins) in [
            (Portion::Whole, true),
            (Portion::Part(0..1), true),
            (Portion::Part(1..LENGTH), true),
            (Portion::Part(BEGINNING..BEGINNING + 1), false),
            (Portion::Head, false),
            (Portion::NotModified, false),
        ] {
            assert_eq!(portion.begins(), begins, "{portion:?}");
        }
    }

    #[test]
    fn a_single_range_is_cut_to_the_file() {
        for (range, expected) in [
            ("bytes=0-0", Portion::Part(0..1)),
            ("bytes=10-19", Portion::Part(10..20)),
            ("bytes=990-", Portion::Part(990..1000)),
            ("bytes=990-5000", Portion::Part(990..1000)),
            ("bytes=-10", Portion::Part(990..1000)),
            ("bytes=-5000", Portion::Part(0..1000)),
            ("bytes=1000-", Portion::Unsatisfiable),
            ("bytes=2000-3000", Portion::Unsatisfiable),
            ("bytes=-0", Portion::Unsatisfiable),
            ("bytes=0-1,5-6", Portion::Whole),
            ("bytes=5-2", Portion::Whole),
            ("bytes=0-18446744073709551615", Portion::Part(0..1000)),
            ("bytes=x-y", Portion::Whole),
            ("lines=1-2", Portion::Whole),
        ] {
            assert_eq!(get(&[("range", range)]), expected, "{range}");
        }
    }

    #[test]
    fn conditions_come_before_ranges() {
        let range = ("range", "bytes=0-9");
        assert_eq!(get(&[("if-none-match", "\"abc\""), range]), Portion::NotModified);
        assert_eq!(get(&[("if-none-match", "W/\"abc\"")]), Portion::NotModified);
        assert_eq!(get(&[("if-none-match", "*")]), Portion::NotModified);
        assert_eq!(get(&[("if-none-match", "\"x\", \"abc\"")]), Portion::NotModified);
        assert_eq!(get(&[("if-none-match", "\"x\""), range]), Portion::Part(0..10));
        assert_eq!(get(&[("if-match", "\"x\"")]), Portion::Another);
        assert_eq!(get(&[("if-match", "\"abc\"")]), Portion::Whole);
    }

    #[test]
    fn a_range_of_an_older_file_gets_the_whole_of_this_one() {
        let range = ("range", "bytes=0-9");
        assert_eq!(get(&[("if-range", "\"abc\""), range]), Portion::Part(0..10));
        for other in ["\"x\"", "W/\"abc\"", "Sat, 29 Oct 1994 19:43:31 GMT", "nonsense"] {
            assert_eq!(get(&[("if-range", other), range]), Portion::Whole, "{other}");
        }
    }

    #[test]
    fn a_head_has_no_range() {
        assert_eq!(portion(Method::HEAD, &[("range", "bytes=0-9")]), Portion::Head);
        assert_eq!(portion(Method::HEAD, &[("if-none-match", "\"abc\"")]), Portion::NotModified);
    }

    #[test]
    fn a_file_name_cannot_leave_its_header() {
        assert_eq!(
            disposition("Über\"x\r\n.pdf", false),
            "attachment; filename=\"_ber_x__.pdf\"; filename*=UTF-8''%C3%9Cber%22x%0D%0A.pdf"
        );
        assert!(disposition("a.pdf", true).starts_with("inline; "));
    }

    #[test]
    fn a_long_name_is_cut_between_letters_and_keeps_its_ending() {
        let cut = shortened(&format!("{}.pdf", "ü".repeat(200)));
        assert!(cut.len() <= LONGEST_NAME && cut.ends_with("ü.pdf"), "{cut}");
        assert_eq!(shortened(&"x".repeat(400)).len(), LONGEST_NAME - 1);
    }
}
