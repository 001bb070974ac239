//! Heads: MLPs over masks' embeddings, trained from image-level labels alone (GranSAM, section 3).
//!
//! ```text
//! SELECT image, labels, embeddings --Bags--> images as bags of masks
//!     --train (multiple-instance loss: teacher; with uncertainty distillation: student; on the masks that the student
//!       picks: refined head, which knows the background)--> TrainedHead
//!     --weights--> a row of heads --predict('HEAD', embedding)--> SQL
//! ```
//!
//! Training reads no image file and does not run Segment Anything, so a new class set costs seconds.

mod bags;
mod batches;
mod class_scores;
mod closed_form;
mod create_head_sql;
mod curve;
mod draw;
mod embeddings;
mod image_labels;
mod inputs;
mod lineage;
mod loss;
mod manage;
mod mask_labels;
mod mil;
mod model;
mod normaliser;
mod number_words;
mod plot;
mod predict;
mod predictor;
mod query;
mod query_columns;
mod refine;
mod refined_masks;
mod run;
mod scores;
mod spec;
mod split;
mod status;
mod stored_embeddings;
mod temporary_file;
mod train;
mod train_options;
mod trained;
mod unusable;
mod warm_start;
mod weights;
mod zero_shot;

pub use bags::{Bags, CacheOptions};
pub use class_scores::{ClassScores, class_scores};
pub use create_head_sql::CreateHead;
pub use curve::{Curve, Phase};
pub use inputs::{HeadInput, HeadInputs, Normalisation};
pub use loss::Loss;
pub use manage::{Removal, export_head, import_head, remove_head, rename_head};
pub use mask_labels::{LabelledMask, MaskClass, MaskLabelCounts};
pub use mil::{
    Bag, KnownMask, KnownOutput, Logits, entropy, is_bad_mask, known_loss, mil_loss, softmax,
    uncertainty_loss,
};
pub use model::Head;
pub use normaliser::{Normaliser, Standard};
pub use plot::plot_curves;
pub use predict::register_predict;
#[cfg(feature = "cluster")]
pub(crate) use predict::{predict_from_bytes, predict_to_bytes};
pub use predictor::{DropoutPasses, MaskPredictor, PredictedMasks};
pub use query::{ChosenImages, DEFAULT_CONDITION, TrainingQuery};
pub use refine::{PickMasks, PickedMask, ScoredMask};
pub(crate) use run::tables_read;
pub use run::{TrainRequest, TrainSummary, TrainingMasks, train};
pub use scores::head_scores;
pub use spec::HeadSpec;
pub use split::Split;
pub use status::{HeadStatus, head_status};
pub use train::Training;
pub use train_options::{Balance, Keep, Pick, Recipe, TrainOptions, parse_widths};
pub use trained::TrainedHead;
pub use warm_start::{Parent, Start};
pub use weights::{HeadWeights, LoadedHead, RefinedCounts, StoredSpec, load_head};
pub use zero_shot::{DEFAULT_TEMPLATE, Words, ZeroShotRequest, zero_shot};
