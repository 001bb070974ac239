//! `rle_decode_png(mask) -> BYTEA`: the mask as an 8-bit gray PNG, 255 inside and 0 outside.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::BinaryBuilder;
use arrow::datatypes::DataType;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{DocSection, Documentation, ScalarUDF};

use super::arguments::error_in_row;
use super::rle_function::{MaskArguments, RleFunction};
use crate::geometry::Rle;

pub(super) fn function() -> ScalarUDF {
    let documentation = Documentation::builder(
        DocSection::default(),
        "A mask as an 8-bit gray PNG: 255 where it is, 0 elsewhere.",
        "rle_decode_png(mask)",
    )
    .with_argument("mask", "A mask: {height, width, counts}.")
    .build();
    RleFunction {
        name: "rle_decode_png",
        masks: 1,
        takes_flag: false,
        return_type: DataType::Binary,
        kernel,
        documentation,
        signature: RleFunction::any_masks(),
    }
    .into()
}

fn png(mask: &Rle) -> Result<Vec<u8>, png::EncodingError> {
    let size = mask.size();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, size.width, size.height);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    let mut pixels = mask.to_row_major();
    pixels.iter_mut().for_each(|pixel| *pixel *= 255);
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(bytes)
}

fn kernel(arguments: &MaskArguments) -> Result<ArrayRef, DataFusionError> {
    let mut pictures = BinaryBuilder::new();
    for (row, picture) in arguments.map(png).enumerate() {
        let picture = picture?
            .transpose()
            .map_err(|err| error_in_row(row, &err))?;
        pictures.append_option(picture);
    }
    Ok(Arc::new(pictures.finish()))
}
