//! Pictures that come with a document, as bytes: nothing is fetched while a report is rendered.

use base64::{Engine, engine::general_purpose::STANDARD};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A picture as its owner uploaded it. Whoever shows it checks it first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Image {
    pub format: ImageFormat,
    /// The file, in Base64 where it is written as JSON.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    #[schemars(with = "String")]
    pub data: Vec<u8>,
    /// The picture in a few words, for readers who cannot see it. Never empty.
    pub alt: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    Png,
    Svg,
}

/// Why a data URL is not a picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    #[error("the picture is not a data URL: give `data:image/png;base64,…` or `data:image/svg+xml;base64,…`")]
    NotADataUrl,
    #[error("pictures of type `{0}` are not accepted: use PNG or SVG")]
    UnknownType(String),
    #[error("the picture's Base64 is damaged")]
    Base64,
    #[error("the picture has more than {} bytes", Image::MAX_BYTES)]
    TooLarge,
}

impl ImageFormat {
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Svg => "image/svg+xml",
        }
    }
}

impl Image {
    /// Larger files are refused before they are decoded.
    pub const MAX_BYTES: usize = 2 << 20;

    /// Reads `data:image/png;base64,…` (RFC 2397).
    ///
    /// # Errors
    /// When it is no such address, not PNG or SVG, or too large.
    pub fn from_data_url(url: &str, alt: impl Into<String>) -> Result<Self, ImageError> {
        let (head, body) =
            url.strip_prefix("data:").and_then(|rest| rest.split_once(',')).ok_or(ImageError::NotADataUrl)?;
        let media_type = head.strip_suffix(";base64").ok_or(ImageError::NotADataUrl)?;
        let format = match media_type.split(';').next().unwrap_or_default() {
            "image/png" => ImageFormat::Png,
            "image/svg+xml" => ImageFormat::Svg,
            other => return Err(ImageError::UnknownType(other.chars().take(60).collect())),
        };
        if body.len() / 4 * 3 > Self::MAX_BYTES {
            return Err(ImageError::TooLarge);
        }
        let data = STANDARD.decode(body.trim()).map_err(|_| ImageError::Base64)?;
        Ok(Self { format, data, alt: alt.into() })
    }

    /// The picture as an address that holds it.
    #[must_use]
    pub fn data_url(&self) -> String {
        format!("data:{};base64,{}", self.format.media_type(), STANDARD.encode(&self.data))
    }
}

fn to_base64<S: Serializer>(data: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(data))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_url_becomes_a_picture_and_back() {
        let url = "data:image/png;base64,iVBORw0KGgo=";
        let image = Image::from_data_url(url, "logo").unwrap();
        assert_eq!((image.format, image.data.as_slice()), (ImageFormat::Png, &b"\x89PNG\r\n\x1a\n"[..]));
        assert_eq!(image.data_url(), url);
    }

    #[test]
    fn addresses_and_other_types_are_refused_with_the_reason() {
        let error = |url: &str| Image::from_data_url(url, "logo").unwrap_err();
        assert_eq!(error("https://e.example/logo.png"), ImageError::NotADataUrl);
        assert_eq!(error("data:image/gif;base64,AAAA"), ImageError::UnknownType("image/gif".into()));
        assert_eq!(error("data:image/png;base64,*"), ImageError::Base64);
        let long = format!("data:image/png;base64,{}", "A".repeat(4 << 20));
        assert_eq!(error(&long), ImageError::TooLarge);
    }
}
