//! What makes two imports of masks the same: the bytes of the source, what it is, and every option.

use chrono::Utc;
use serde_json::json;

use super::request::MaskSource;
use crate::extract::file_name;
use crate::ids::ExtractorId;
use crate::store::rows::{ExtractorKind, ExtractorRow};

/// The row of `extractors` for a source whose content has a SHA-256.
///
/// Its id is computed from the kind, that SHA-256 and the options, so the same files give the same id everywhere,
/// wherever they are.
pub(super) fn extractor_row(source: &MaskSource, sha256: String) -> ExtractorRow {
    let kind = ExtractorKind::ImportedMasks;
    let (name, options) = match source {
        MaskSource::Coco(path) => (file_name(path), json!({ "source": "coco" })),
        MaskSource::Sa1b(path) => (file_name(path), json!({ "source": "sa-1b" })),
        MaskSource::LabelMaps { path, ignore } => {
            let mut ignore = ignore.clone();
            ignore.sort_unstable();
            ignore.dedup();
            let options = json!({ "source": "label-maps", "ignore": ignore });
            (file_name(path), options)
        }
        MaskSource::GroundTruth { dataset } => {
            let options = json!({ "source": "ground-truth", "dataset": dataset });
            (dataset.clone(), options)
        }
    };
    // The keys of a JSON value are sorted.
    let options = options.to_string();
    ExtractorRow {
        extractor_id: ExtractorId::of_parts([kind.as_str(), &sha256, &options]),
        kind,
        model_type: None,
        checkpoint: name,
        checkpoint_sha256: sha256,
        embedding_dim: None,
        embedding_space: None,
        options,
        grainstore_version: env!("CARGO_PKG_VERSION").to_owned(),
        created_at: Utc::now(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label_maps(ignore: &[u32]) -> ExtractorRow {
        let source = MaskSource::LabelMaps {
            path: "masks/".into(),
            ignore: ignore.to_vec(),
        };
        extractor_row(&source, "00".repeat(32))
    }

    #[test]
    fn ids_depend_on_what_changes_the_masks() {
        let plain = label_maps(&[]);
        assert_eq!(plain.options, r#"{"ignore":[],"source":"label-maps"}"#);
        assert_eq!(plain.checkpoint, "masks");
        let id = |ignore: &[u32]| label_maps(ignore).extractor_id;
        assert_eq!(id(&[7, 255, 7]), id(&[255, 7]));
        assert_ne!(id(&[]), id(&[255]));
        let coco = extractor_row(&MaskSource::Coco("masks".into()), "00".repeat(32));
        assert_ne!(plain.extractor_id, coco.extractor_id);
    }
}
