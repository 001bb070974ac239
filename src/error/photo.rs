//! Errors of the bytes of image files.

/// Everything that can go wrong in `photo`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PhotoError {
    /// The file holds no bytes.
    #[error("the file is empty")]
    EmptyFile,

    /// The bytes start like no known image format.
    #[error("not an image: the file starts with '{start}'")]
    NotAnImage {
        /// The first bytes, escaped.
        start: String,
    },

    /// The file is of a known kind that is never decoded, such as HEIC.
    #[error("'{name}' files cannot be decoded; convert the file to jpeg or png")]
    UnsupportedFormat {
        /// Name of the recognised kind of file.
        name: &'static str,
    },

    /// The format is supported, but this feature of it is not.
    #[error("unsupported {format} image: {reason}")]
    UnsupportedImage {
        /// Lower-case name of the format.
        format: &'static str,
        /// The feature that is not supported.
        reason: String,
    },

    /// The file ends before its image does.
    #[error("truncated {format} image: {reason}")]
    TruncatedImage {
        /// Lower-case name of the format.
        format: &'static str,
        /// What is missing, with expected and found sizes.
        reason: String,
    },

    /// The header contradicts itself or the format.
    #[error("corrupt {format} image: {reason}")]
    CorruptImage {
        /// Lower-case name of the format.
        format: &'static str,
        /// What is wrong.
        reason: String,
    },

    /// The header gives a width or a height of zero.
    #[error("{format} image of {width} x {height} has no pixels")]
    ImageWithoutPixels {
        /// Lower-case name of the format.
        format: &'static str,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },

    /// The image has more pixels than allowed.
    #[error("image of {width} x {height} pixels is over the limit of {limit} pixels{}", larger(*limit))]
    ImageTooLarge {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Maximum number of pixels.
        limit: u64,
    },

    /// Decoding the image would take more memory than allowed.
    #[error(
        "decoding the image of {width} x {height} pixels takes {needed} bytes, over the limit of {limit} bytes"
    )]
    ImageTakesTooMuchMemory {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Bytes needed.
        needed: u64,
        /// Maximum number of bytes.
        limit: u64,
    },

    /// A channel is asked for that the photo does not have.
    #[error("it has no channel {channel}, but {channels}, counted from 1")]
    NoSuchChannel {
        /// The channel that is asked for.
        channel: u16,
        /// How many channels it has.
        channels: u16,
    },

    /// The decoder refused the pixel data.
    #[error("cannot decode the {format} image")]
    DecodeImage {
        /// Lower-case name of the format.
        format: &'static str,
        /// The decoder's error.
        #[source]
        source: image::ImageError,
    },

    /// The decoder refused the pixel data of a label map.
    #[error("cannot decode the png label map")]
    DecodeLabelMap {
        /// The decoder's error.
        #[source]
        source: png::DecodingError,
    },

    /// The image is of a kind that holds no class indices.
    #[error(
        "not a label map: expected a palette, gray (8 bits or less) or rgb8 png, found {found}; save it as one of those, without transparency"
    )]
    NotALabelMap {
        /// Format and colour of the image.
        found: String,
    },

    /// A pixel of an RGB label map has a colour outside PASCAL VOC's map.
    #[error(
        "pixel ({x}, {y}) has colour {color:?}, which is not in the PASCAL VOC colour map; save class indices as a palette or gray png, or paint in VOC's colours"
    )]
    NotAVocColor {
        /// Column of the pixel, from 0.
        x: u32,
        /// Row of the pixel, from 0.
        y: u32,
        /// Red, green and blue.
        color: [u8; 3],
    },
}

/// What to do with an image over a limit, unless that is the greatest there is.
fn larger(limit: u64) -> &'static str {
    if limit < u64::from(u32::MAX) {
        "; extract --tile 1024 takes larger ones"
    } else {
        ""
    }
}
