//! Heads: an MLP over masks' embeddings, trained from image-level labels alone (GranSAM, section 3).
//!
//! ```text
//! SELECT image, labels, embeddings --Bags--> images as bags of masks
//!     --train (multiple-instance loss: teacher; with uncertainty distillation: student)--> TrainedHead
//!     --artifact--> a row of heads --predict('HEAD', embedding)--> SQL
//! ```
//!
//! No image file is read and no Segment Anything runs: a new class set costs seconds.

mod artifact;
mod bags;
mod batches;
mod create;
mod embeddings;
mod judge;
mod keep;
mod lineage;
mod mil;
mod model;
mod plot;
mod predict;
mod query;
mod run;
mod spec;
mod split;
mod status;
mod train;

pub use artifact::{HeadWeights, LoadedHead, StoredSpec, load_head};
pub use bags::{Bags, CacheOptions, ImageBag, Skipped};
pub use create::CreateHead;
pub use judge::{Judged, MaskJudge};
pub use keep::{head_file, import_head, remove_head, rename_head};
pub use lineage::{Parent, carry_over};
pub use mil::{
    Bag, BagScore, Logits, LossGradient, entropy, is_bad_mask, mil_loss, score_bag, softmax,
    uncertainty_loss,
};
pub use model::Head;
pub use plot::plot_curves;
pub use predict::register_predict;
pub use query::{DEFAULT_CONDITION, TrainingQuery};
pub use run::{TrainRequest, TrainSummary, train_and_store};
pub use spec::{Balance, HeadSpec, Loss, STEPS, TrainOptions};
pub use split::{Replay, Split};
pub use status::{HeadStatus, head_status};
pub use train::{Curve, Phase, TrainedHead, Training};
