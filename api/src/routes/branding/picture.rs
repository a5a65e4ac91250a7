//! Pictures from strangers: PNG files, read to their end and written anew, so that what we keep and send is our own.
//!
//! Everything but the pixels is left behind: texts, profiles, further frames, bytes behind the end.

use std::io::Cursor;

use bytes::Bytes;
use png::{Compression, Decoder, Encoder, Limits, Transformations};
use store::branding::Picture;
use tokio::sync::Semaphore;

/// The longest file, as seed 000 has it: 2 MB. What we make of it is no longer either.
pub(super) const LARGEST: usize = 2 << 20;
/// The longest side, in pixels. Looked at before anything is decoded.
const LONGEST_SIDE: u32 = 4096;
/// Four bytes for each pixel of the largest picture.
const MOST_MEMORY: usize = (LONGEST_SIDE as usize).pow(2) * 4;
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A few are decoded at once and the others wait, so that memory is bounded whatever is sent.
static DECODING: Semaphore = Semaphore::const_new(2);

/// The picture in `file`, or why there is none: the end of a sentence about it.
///
/// # Errors
/// When the computation broke off. That the file is no picture is no error.
pub(super) async fn written_anew(file: Bytes) -> anyhow::Result<Result<Picture, String>> {
    let _slot = DECODING.acquire().await?;
    Ok(tokio::task::spawn_blocking(move || write_anew(&file)).await?)
}

fn write_anew(file: &[u8]) -> Result<Picture, String> {
    if file.len() > LARGEST {
        return Err(format!("it has {} bytes, at most {LARGEST} are accepted", file.len()));
    }
    if !file.starts_with(SIGNATURE) {
        return Err("it is not a PNG file: it begins with other bytes".into());
    }
    let damaged = |error: png::DecodingError| format!("it is a damaged PNG file: {error}");
    let mut decoder = Decoder::new_with_limits(Cursor::new(file), Limits { bytes: MOST_MEMORY });
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(Transformations::normalize_to_color8());
    let header = decoder.read_header_info().map_err(damaged)?;
    let (width, height) = header.size();
    if width > LONGEST_SIDE || height > LONGEST_SIDE {
        return Err(format!(
            "it measures {width} by {height} pixels, at most {LONGEST_SIDE} a side are accepted"
        ));
    }
    let mut reader = decoder.read_info().map_err(damaged)?;
    let size = reader.output_buffer_size().filter(|size| *size <= MOST_MEMORY);
    let mut pixels = vec![0; size.ok_or("it is larger than can be read")?];
    let frame = reader.next_frame(&mut pixels).map_err(damaged)?;
    reader.finish().map_err(damaged)?;

    let mut png = Vec::new();
    let mut encoder = Encoder::new(&mut png, frame.width, frame.height);
    encoder.set_color(frame.color_type);
    encoder.set_depth(frame.bit_depth);
    encoder.set_compression(Compression::Balanced);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(&pixels[..frame.buffer_size()])?;
        writer.finish()
    });
    written.map_err(|error| format!("it cannot be written anew: {error}"))?;
    if png.len() > LARGEST {
        return Err(format!(
            "it has {} bytes when written anew, at most {LARGEST} are accepted: make it smaller",
            png.len()
        ));
    }
    Ok(Picture { png, width: frame.width, height: frame.height })
}

#[cfg(test)]
mod tests {
    use png::{BitDepth, ColorType};

    use super::*;

    fn drawn(width: u32, height: u32, change: impl FnOnce(&mut Encoder<'_, &mut Vec<u8>>)) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, width, height);
        encoder.set_color(ColorType::Grayscale);
        encoder.set_depth(BitDepth::One);
        change(&mut encoder);
        let mut writer = encoder.write_header().expect("a header");
        let row = (width as usize).div_ceil(8);
        writer.write_image_data(&vec![0b1010_1010; row * height as usize]).expect("pixels");
        writer.finish().expect("an end");
        file
    }

    #[test]
    fn only_the_pixels_survive() {
        let mut file = drawn(8, 4, |encoder| {
            encoder.add_text_chunk("Comment".into(), "<script>".into()).expect("a text");
        });
        file.extend(b"PK\x03\x04 and an archive behind the end");
        let picture = write_anew(&file).expect("a picture");
        assert_eq!((picture.width, picture.height), (8, 4));
        let holds = |what: &[u8]| picture.png.windows(what.len()).any(|window| window == what);
        assert!(!holds(b"<script>") && !holds(b"PK\x03\x04"));
        let again = write_anew(&picture.png).expect("what we wrote can be read");
        assert_eq!(again, picture);
    }

    #[test]
    fn what_is_no_png_is_refused_with_the_reason() {
        let refused = |file: &[u8]| write_anew(file).expect_err("refused");
        assert!(refused(b"GIF89a").contains("begins with other bytes"));
        assert!(refused(b"").contains("begins with other bytes"));
        assert!(refused(SIGNATURE).contains("damaged"));
        let whole = drawn(64, 64, |_| {});
        assert!(refused(&whole[..whole.len() - 20]).contains("damaged"), "cut off");
        let mut altered = whole.clone();
        let middle = altered.len() / 2;
        altered[middle] ^= 0xff;
        assert!(refused(&altered).contains("damaged"), "altered");
        assert!(refused(&vec![0; LARGEST + 1]).contains("at most 2097152"));
    }

    #[test]
    fn a_side_too_long_is_refused_before_it_is_decoded() {
        // Announces twenty thousand pixels a side in some fifty kilobytes.
        let bomb = drawn(20_000, 20_000, |_| {});
        assert!(bomb.len() < 1 << 20);
        assert_eq!(
            write_anew(&bomb).expect_err("refused"),
            "it measures 20000 by 20000 pixels, at most 4096 a side are accepted"
        );
    }
}
