//! Pixels: SVG to PNG for whoever cannot show SVG, and the check of PNG files that strangers hand in.

use std::{
    io::Cursor,
    sync::{Arc, LazyLock},
};

use resvg::{
    tiny_skia::{Color, Pixmap, Transform},
    usvg::{self, fontdb},
};

use crate::{RenderError, fonts};

/// A picture with more would need more memory than all the rest of a report.
const MAX_PIXELS: u64 = 16_000_000;

static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut database = fontdb::Database::new();
    fonts::files().for_each(|file| database.load_font_data(file.to_vec()));
    Arc::new(database)
});

/// Settings that read nothing but the SVG itself.
pub(crate) fn isolated() -> usvg::Options<'static> {
    usvg::Options {
        resources_dir: None,
        font_family: "Inter".to_owned(),
        fontdb: FONTS.clone(),
        image_href_resolver: usvg::ImageHrefResolver {
            resolve_data: usvg::ImageHrefResolver::default_data_resolver(),
            resolve_string: Box::new(|_, _| None),
        },
        ..usvg::Options::default()
    }
}

/// Draws `svg` on white, `scale` pixels for each of its units.
pub(crate) fn rasterise(svg: &str, scale: f32) -> Result<Vec<u8>, RenderError> {
    let failed = |message: String| RenderError::Picture { message };
    let tree = usvg::Tree::from_str(svg, &isolated()).map_err(|error| failed(error.to_string()))?;
    let size = tree.size();
    let [width, height] = [size.width(), size.height()].map(|side| (side * scale).ceil().max(1.0) as u32);
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(failed(format!("a drawing of {width} by {height} pixels is too large")));
    }
    let mut pixels = Pixmap::new(width, height)
        .ok_or_else(|| failed(format!("{width} by {height} pixels cannot be drawn")))?;
    pixels.fill(Color::WHITE);
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| failed(error.to_string()))
}

/// Width and height of a PNG that can be decoded to its end.
pub(crate) fn check_png(data: &[u8]) -> Result<[u32; 2], String> {
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(data), png::Limits { bytes: 128 << 20 });
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
    let [width, height] = [reader.info().width, reader.info().height];
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(format!("it has {width} by {height} pixels, at most {MAX_PIXELS} are accepted"));
    }
    let size = reader.output_buffer_size().ok_or("its size is beyond this machine")?;
    reader.next_frame(&mut vec![0; size]).map_err(|error| error.to_string())?;
    Ok([width, height])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_becomes_a_png_of_the_asked_size() {
        let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"10\" height=\"5\"><rect width=\"5\" height=\"5\"/></svg>";
        assert_eq!(check_png(&rasterise(svg, 2.0).unwrap()), Ok([20, 10]));
    }

    #[test]
    fn a_damaged_png_is_refused() {
        assert!(check_png(b"\x89PNG\r\n\x1a\nnothing").is_err());
    }
}
