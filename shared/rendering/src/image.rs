//! Pictures from strangers, before anything shows them: PNG that decodes to its end, SVG reduced to its shapes.
//!
//! A picture that does not pass is left out with a warning; a report never fails for a logo.

use domain::document::{Image, ImageFormat};
use resvg::usvg::{Tree, WriteOptions};

use crate::figure;

/// Sides longer than this are nobody's logo.
const MAX_SIDE: f32 = 16_384.0;

/// The picture as it may be shown, or why it may not.
///
/// # Errors
/// Says what is wrong with it, as the end of a sentence that names the picture.
pub fn checked(image: &Image) -> Result<Image, String> {
    if image.data.len() > Image::MAX_BYTES {
        return Err(format!("it has {} bytes, at most {} are accepted", image.data.len(), Image::MAX_BYTES));
    }
    let data = match image.format {
        ImageFormat::Png => {
            figure::check_png(&image.data)?;
            image.data.clone()
        }
        ImageFormat::Svg => inert_svg(&image.data)?,
    };
    Ok(Image { data, ..image.clone() })
}

/// What a strict reader understood, written anew: no scripts, no addresses, no style sheets, text as outlines.
fn inert_svg(data: &[u8]) -> Result<Vec<u8>, String> {
    let text = std::str::from_utf8(data).map_err(|_| "it is not UTF-8".to_owned())?;
    let tree = Tree::from_str(text, &figure::isolated()).map_err(|error| error.to_string())?;
    let size = tree.size();
    if size.width() > MAX_SIDE || size.height() > MAX_SIDE {
        return Err(format!(
            "it measures {} by {}, at most {MAX_SIDE} a side are accepted",
            size.width(),
            size.height()
        ));
    }
    let svg = tree.to_string(&WriteOptions::default());
    if svg.len() > 4 * Image::MAX_BYTES {
        return Err("it unfolds into too many shapes".to_owned());
    }
    Ok(svg.into_bytes())
}

/// The pictures that pass, in their order; the others are logged.
pub(crate) fn usable(image: &Image) -> Option<Image> {
    checked(image)
        .inspect_err(|reason| {
            tracing::warn!(picture = image.alt, reason, "a picture was left out of a report")
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn svg(text: &str) -> Image {
        Image { format: ImageFormat::Svg, data: text.as_bytes().to_vec(), alt: "logo".into() }
    }

    #[test]
    fn an_svg_keeps_its_shapes_and_loses_everything_that_acts() {
        let hostile = r#"<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="20" height="10" onload="alert(1)">
            <script>alert(1)</script><style>@import url(https://e.example/x.css);</style>
            <image xlink:href="https://e.example/x.png" width="5" height="5"/><image xlink:href="file:///etc/passwd" width="5" height="5"/>
            <a xlink:href="javascript:alert(1)"><rect width="10" height="10" fill="red"/></a>
            <foreignObject><p xmlns="http://www.w3.org/1999/xhtml">x</p></foreignObject></svg>"#;
        let safe = String::from_utf8(checked(&svg(hostile)).unwrap().data).unwrap();
        for word in ["script", "onload", "e.example", "passwd", "javascript", "foreignObject", "import"] {
            assert!(!safe.contains(word), "{word} in {safe}");
        }
        assert!(safe.contains("#ff0000"), "{safe}");
    }

    #[test]
    fn what_is_no_picture_is_refused_with_the_reason() {
        assert!(checked(&svg("<html/>")).is_err());
        assert!(
            checked(&svg("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"20000\" height=\"1\"/>"))
                .is_err()
        );
        let png = Image { format: ImageFormat::Png, data: b"GIF89a".to_vec(), alt: "logo".into() };
        assert!(checked(&png).is_err());
    }
}
