//! Pixels of photos and masks.

use grainstore::geometry::{Rle, Size};
use grainstore::ids::ImageId;
use grainstore::photo::{DecodeLimits, decode};
use grainstore::store::{PhotoFiles, StorageOption, Store};
use grainstore::{Error, Result};
use pyo3::prelude::*;
use pyo3::types::PyByteArray;

use crate::failure::raise_error;
use crate::wait::{runtime, wait};

/// Opens a store with options of buckets, each `KEY=VALUE`.
pub async fn open(store: String, options: Vec<String>) -> Result<Store> {
    let options = options.iter().map(|option| option.parse::<StorageOption>());
    Store::open_with(&store, &options.collect::<Result<_>>()?).await
}

/// The pixels of a mask, row-major, 1 in it and 0 elsewhere. `counts` are COCO's compressed run lengths.
#[pyfunction]
pub fn mask_decode<'py>(
    py: Python<'py>,
    counts: &str,
    height: u32,
    width: u32,
) -> PyResult<Bound<'py, PyByteArray>> {
    let rle = Rle::from_counts_str(Size { height, width }, counts);
    let rle = rle.map_err(|err| raise_error(py, err))?;
    Ok(PyByteArray::new(py, &rle.to_row_major()))
}

/// COCO's compressed run lengths of a mask, from its pixels, row-major; any but 0 is in it.
#[pyfunction]
pub fn mask_encode(py: Python<'_>, pixels: &[u8], height: u32, width: u32) -> PyResult<String> {
    let rle = Rle::from_row_major(Size { height, width }, pixels);
    Ok(rle.map_err(|err| raise_error(py, err))?.to_counts_string())
}

/// Reads the photos of a store.
#[pyclass(frozen)]
pub struct Photos(PhotoFiles);

#[pymethods]
impl Photos {
    /// The photos of a store.
    #[staticmethod]
    fn open(py: Python<'_>, store: String, options: Vec<String>) -> PyResult<Self> {
        let store = wait(py, move || open(store, options))?;
        let store = store.map_err(|err| raise_error(py, err))?;
        // It keeps a hold of the runtime that it is made in.
        let _inside = runtime()?.enter();
        Ok(Self(store.photos()))
    }

    /// The pixels of a stored photo, upright, `[height, width, 3]`, with its height and width.
    fn read<'py>(
        &self,
        py: Python<'py>,
        root: String,
        file_name: String,
        image_id: &str,
    ) -> PyResult<(Bound<'py, PyByteArray>, u32, u32)> {
        let id = ImageId::try_from(image_id.to_owned()).map_err(|err| raise_error(py, err))?;
        let files = self.0.clone();
        let read = wait(py, move || async move {
            let bytes = files.read_ingested(&root, &file_name, &id)?;
            Ok(decode(&bytes, &DecodeLimits::default())?)
        })?;
        let photo = read.map_err(|err: Error| raise_error(py, err))?;
        let (width, height) = photo.dimensions();
        Ok((PyByteArray::new(py, photo.as_raw()), height, width))
    }
}
