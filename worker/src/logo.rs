//! Fetch a report's logo from the address that a request names.
//!
//! The address comes from a tenant, so it is asked through the guarded client, once and not for long. A report never
//! waits or fails for its logo: whoever asks is told why there is none. Whether the file can be shown is found out
//! where it is rendered.

use std::time::Duration;

use domain::document::{Image, ImageFormat};
use runtime::{
    config::Network,
    egress::{Policy, Request},
};

use crate::context::Context;

/// For addresses of logos.
#[must_use]
pub(crate) fn policy(networks: &[Network]) -> Policy {
    const PATIENCE: Duration = Duration::from_secs(5);
    Policy {
        allow_networks: networks.to_vec(),
        connect_timeout: PATIENCE,
        idle_timeout: PATIENCE,
        total_timeout: PATIENCE,
        max_bytes: Image::MAX_BYTES as u64,
        ..Policy::tenant()
    }
}

/// The picture at `address`, or why there is none, as the end of a sentence.
pub(crate) async fn fetch(context: &Context, address: &str, alt: String) -> Result<Image, String> {
    let answer = context.logos.send(Request::get(address)).await.map_err(|error| error.to_string())?;
    if !answer.status.is_success() {
        return Err(format!("the address answered {}", answer.status));
    }
    let data = answer.bytes().await.map_err(|error| error.to_string())?.to_vec();
    let format = format_of(&data).ok_or("what the address answered is neither PNG nor SVG")?;
    Ok(Image { format, data, alt })
}

/// By the file itself: what a server calls it is not to be relied on.
fn format_of(data: &[u8]) -> Option<ImageFormat> {
    const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
    if data.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Some(ImageFormat::Png);
    }
    let text = data.strip_prefix(BYTE_ORDER_MARK).unwrap_or(data).trim_ascii_start();
    (text.starts_with(b"<?xml") || text.starts_with(b"<svg") || text.starts_with(b"<!--"))
        .then_some(ImageFormat::Svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_known_by_its_bytes() {
        assert_eq!(format_of(b"\x89PNG\r\n\x1a\nrest"), Some(ImageFormat::Png));
        assert_eq!(format_of("\u{feff}\n<?xml version='1.0'?><svg/>".as_bytes()), Some(ImageFormat::Svg));
        for other in [&b"GIF89a"[..], b"<html>", b""] {
            assert_eq!(format_of(other), None);
        }
    }
}
