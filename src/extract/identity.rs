//! What makes two extractions the same: the weights, the model type, the precision, and every option.

use std::fs::File;
use std::path::{Path, PathBuf};

use chrono::Utc;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::options::{MaskOptions, SamVector};
use crate::device::Precision;
use crate::error::FileAction;
use crate::ids::{EmbedderId, ExtractorId, hex};
use crate::models::sam::{Checkpoint, EncoderConfig, PixelTransform, SamConfig};
use crate::options::is_default;
use crate::store::rows::{EmbedderRow, ExtractorKind, ExtractorRow, embedding_space};
use crate::{Error, Result};

/// What affects the masks, besides the checkpoint.
#[derive(Serialize)]
struct Identity<'a> {
    #[serde(flatten)]
    options: &'a MaskOptions,
    precision: Precision,
}

/// The row of `extractors` for a checkpoint, its model, the options and the precision that it computes in.
///
/// Its id is computed from the checkpoint's SHA-256, the model type and everything else that affects the masks, so the
/// same inputs give the same id everywhere. The SHA-256 of a checkpoint of several files is that of a text with the
/// SHA-256 of each file on a line, sorted.
///
/// # Errors
/// [`Error::File`] if a file of the checkpoint cannot be read.
pub fn extractor_row(
    checkpoint: &Checkpoint,
    config: &SamConfig,
    options: &MaskOptions,
    precision: Precision,
) -> Result<ExtractorRow> {
    let sha256 = sha256_of_files(checkpoint.files())?;
    let name = file_name(checkpoint.path());
    row(name, sha256, config, options, precision)
}

/// The rows of [`extractor_row`] for several options; the checkpoint is read once.
///
/// # Errors
/// As [`extractor_row`].
pub(super) fn extractor_rows(
    checkpoint: &Checkpoint,
    config: &SamConfig,
    options: &[MaskOptions],
    precision: Precision,
) -> Result<Vec<ExtractorRow>> {
    let sha256 = sha256_of_files(checkpoint.files())?;
    let name = file_name(checkpoint.path());
    let rows = options.iter();
    rows.map(|options| row(name.clone(), sha256.clone(), config, options, precision))
        .collect()
}

fn row(
    checkpoint: String,
    sha256: String,
    config: &SamConfig,
    options: &MaskOptions,
    precision: Precision,
) -> Result<ExtractorRow> {
    let model_type = config.model_type().map_or("custom", |model| model.name());
    // The keys of a JSON value are sorted.
    let options = serde_json::to_value(Identity { options, precision })?.to_string();
    let embedding_dim = config.decoder.mask_tokens() * config.prompt_dim;
    let embedding_dim = i32::try_from(embedding_dim).map_err(|_| Error::ModelOutput {
        what: "embedding's length",
    })?;
    Ok(ExtractorRow {
        extractor_id: ExtractorId::of_parts([model_type, &sha256, &options]),
        kind: match config.encoder {
            EncoderConfig::Vit(_) | EncoderConfig::TinyVit(_) => ExtractorKind::Sam,
            EncoderConfig::Hiera(_) => ExtractorKind::Sam2,
            EncoderConfig::Sam3Vit(_) => ExtractorKind::Sam3,
        },
        model_type: Some(model_type.to_owned()),
        checkpoint,
        embedding_dim: Some(embedding_dim),
        embedding_space: Some(embedding_space(&sha256, &options, embedding_dim)),
        checkpoint_sha256: sha256,
        options,
        grainstore_version: env!("CARGO_PKG_VERSION").to_owned(),
        created_at: Utc::now(),
    })
}

/// The row of `embedders` for a vector that a model gives beside an extractor's masks. The grid, the crops and the filters
/// do not count: vectors of the same weights and the same pixels are comparable.
///
/// # Errors
/// [`Error::ModelOutput`] for a model whose tokens are too wide for the column.
pub(super) fn sam_embedder_row(
    extractor: &ExtractorRow,
    config: &SamConfig,
    precision: Precision,
    pixels: PixelTransform,
    vector: SamVector,
) -> Result<EmbedderRow> {
    /// What affects a vector.
    #[derive(Serialize)]
    struct Identity {
        #[serde(skip_serializing_if = "is_default")]
        pixels: PixelTransform,
        precision: Precision,
        vector: &'static str,
    }
    let options = Identity {
        pixels,
        precision,
        vector: vector.word(),
    };
    let options = serde_json::to_value(options)?.to_string();
    let sha256 = &extractor.checkpoint_sha256;
    let model_type = vector.embedder();
    Ok(EmbedderRow {
        embedder_id: EmbedderId::of_parts([model_type, sha256, &options]),
        embedder: model_type.to_owned(),
        model_type: model_type.to_owned(),
        checkpoint: extractor.checkpoint.clone(),
        checkpoint_sha256: sha256.clone(),
        dim: i32::try_from(config.prompt_dim).map_err(|_| Error::ModelOutput {
            what: "vector's length",
        })?,
        options,
        grainstore_version: extractor.grainstore_version.clone(),
        created_at: extractor.created_at,
    })
}

/// The last component of a path, even of one that ends in `.` or `..`.
pub(crate) fn file_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_os_string());
    let name = name.or_else(|| Some(path.canonicalize().ok()?.file_name()?.to_os_string()));
    name.unwrap_or_default().to_string_lossy().into_owned()
}

/// SHA-256 of a file or, for several files, of a text with the SHA-256 of each file on a line, sorted.
///
/// File names do not count, so a checkpoint stays the same when its files are renamed. In a shell:
/// `sha256sum FILE... | cut -c1-64 | LC_ALL=C sort | sha256sum`.
pub(crate) fn sha256_of_files(files: &[PathBuf]) -> Result<String> {
    if let [file] = files {
        return sha256_of(file);
    }
    let sums = files.iter().map(|file| sha256_of(file));
    let mut sums = sums.collect::<Result<Vec<String>>>()?;
    sums.sort_unstable();
    let mut hash = Sha256::new();
    for sum in sums {
        hash.update(sum);
        hash.update("\n");
    }
    Ok(hex(&hash.finalize()))
}

/// SHA-256 of a file, 64 lower-case hex digits.
fn sha256_of(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::file(FileAction::Read, path))?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).map_err(Error::file(FileAction::Read, path))?;
    Ok(hex(&hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::sam::ModelType;

    const SHA256: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn id(config: &SamConfig, precision: Precision) -> String {
        let (name, sha256) = ("a.pth".to_owned(), SHA256.to_owned());
        let row = row(name, sha256, config, &MaskOptions::default(), precision).unwrap();
        row.extractor_id.as_str().to_owned()
    }

    /// With another id, every store of that model would be extracted anew: adding an option must not change the ids for
    /// its default value.
    #[test]
    fn extractors_of_published_models_keep_their_ids() {
        let ids = [
            id(&SamConfig::vit_b(), Precision::F32),
            id(&SamConfig::vit_l(), Precision::F32),
            id(&SamConfig::vit_h(), Precision::F32),
            id(&SamConfig::published(ModelType::VitT), Precision::F32),
            id(&SamConfig::vit_b(), Precision::Bf16),
            id(&SamConfig::vit_b(), Precision::F16),
        ];
        assert_eq!(
            ids,
            [
                "48b17fd69bf0c9a0aa37ac9670297425",
                "88b72e82b04be8a434d86a82d3b170a2",
                "f6ab07dc4d7799b50352acc9b0fffb55",
                "5977d559211012e7b22a3ee9d458717d",
                "09e631f2bb2eca4e81148d63b07d65c4",
                "80386ece6513cb313ddfd44e6c8d86b0",
            ]
        );
    }

    #[test]
    fn other_pixels_are_other_extractors_and_spaces() {
        let of = |pixels| {
            let options = MaskOptions {
                pixels,
                ..MaskOptions::default()
            };
            let (name, sha256) = ("a.pth".to_owned(), SHA256.to_owned());
            row(name, sha256, &SamConfig::vit_b(), &options, Precision::F32).unwrap()
        };
        let [sam, medsam] = [PixelTransform::Sam, PixelTransform::MedSam].map(of);
        assert!(!sam.options.contains("pixels"), "{}", sam.options);
        assert_ne!(sam.extractor_id, medsam.extractor_id);
        assert_ne!(sam.embedding_space, medsam.embedding_space);
    }

    #[test]
    fn the_demos_extractor_keeps_its_id() {
        let demo = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/assets/demo/sam_demo.safetensors"
        );
        let checkpoint = Checkpoint::open(demo).unwrap();
        let config = checkpoint.config().unwrap();
        let options = MaskOptions::default();
        let row = extractor_row(&checkpoint, &config, &options, Precision::F32).unwrap();
        assert_eq!(
            row.extractor_id.as_str(),
            "a55b47a1915186b8d91e06b87914cdb7"
        );
        assert_eq!(
            row.checkpoint_sha256,
            "8900c27437ace587239d1fac70c4f3ef1ba4c6c218facf6c1867eb1f2d33d5d6"
        );
    }

    #[test]
    fn files_count_by_content_in_no_order() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["b", "a"].map(|name| folder.path().join(name));
        std::fs::create_dir(folder.path().join("c")).unwrap();
        for (file, content) in files.iter().zip(["one", "two"]) {
            std::fs::write(file, content).unwrap();
        }
        // (printf one | sha256sum; printf two | sha256sum) | cut -c1-64 | LC_ALL=C sort | sha256sum
        let expected = "8367c97dc67a22797234f0ddf8ef870f9ce2a814c54b0146d56c6bea6d68dd2f";
        assert_eq!(sha256_of_files(&files).unwrap(), expected);
        let [first, second] = files;
        assert_eq!(sha256_of_files(&[second, first.clone()]).unwrap(), expected);
        assert_eq!(
            sha256_of_files(std::slice::from_ref(&first)).unwrap(),
            sha256_of(&first).unwrap()
        );
        assert_eq!(
            file_name(&folder.path().join("c/..")),
            file_name(folder.path())
        );
    }
}
