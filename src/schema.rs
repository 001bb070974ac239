//! The tables: DDL in `schemas/*.sql` comes in, Arrow schemas go out.
//!
//! The files are embedded and parsed once, at first use, by DataFusion's SQL planner. A type hook adds what standard
//! SQL lacks: `FLOAT16`, and list items named `item`. This module knows nothing of Lance or of a store's directory.

mod ddl;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Fields, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

pub use ddl::{list_item, parse_create_table};

use crate::ids::EmbedderId;
use crate::{Error, Result};

/// A table of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Photos.
    Images,
    /// Models with their options, and imports.
    Extractors,
    /// Masks with their embeddings.
    Masks,
    /// Image-level labels.
    Labels,
    /// Classes and the labels that map to them.
    ClassSets,
    /// Trained heads.
    Heads,
    /// The classes that heads predict for masks.
    Predictions,
    /// Annotated objects.
    GroundTruth,
    /// Metrics of evaluations.
    Evaluations,
    /// Items that could not be used.
    Failures,
    /// Images that extractors are done with.
    Extractions,
    /// Policies: what makes a predicted mask part of the annotation.
    Policies,
    /// Models that make vectors of masks or images.
    Embedders,
    /// Images that embedders are done with.
    Embeddings,
    /// Labels on single masks.
    MaskLabels,
    /// Features of SAM's image encoder, if they are kept.
    ImageFeatures,
    /// How people made masks.
    Prompts,
}

impl Table {
    /// Every table, in the order of the flow.
    pub const ALL: [Self; 17] = [
        Self::Images,
        Self::Extractors,
        Self::Masks,
        Self::Labels,
        Self::ClassSets,
        Self::Heads,
        Self::Predictions,
        Self::GroundTruth,
        Self::Evaluations,
        Self::Failures,
        Self::Extractions,
        Self::Policies,
        Self::Embedders,
        Self::Embeddings,
        Self::MaskLabels,
        Self::ImageFeatures,
        Self::Prompts,
    ];

    /// The table's name in SQL and on disk.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Extractors => "extractors",
            Self::Masks => "masks",
            Self::Labels => "labels",
            Self::ClassSets => "class_sets",
            Self::Heads => "heads",
            Self::Predictions => "predictions",
            Self::GroundTruth => "ground_truth",
            Self::Evaluations => "evaluations",
            Self::Failures => "failures",
            Self::Extractions => "extractions",
            Self::Policies => "policies",
            Self::Embedders => "embedders",
            Self::Embeddings => "embeddings",
            Self::MaskLabels => "mask_labels",
            Self::ImageFeatures => "image_features",
            Self::Prompts => "prompts",
        }
    }

    /// The table of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// The table's `CREATE TABLE` statement, including its comments.
    pub const fn ddl(self) -> &'static str {
        match self {
            Self::Images => include_str!("../schemas/1_images.sql"),
            Self::Extractors => include_str!("../schemas/2_extractors.sql"),
            Self::Masks => include_str!("../schemas/3_masks.sql"),
            Self::Labels => include_str!("../schemas/4_labels.sql"),
            Self::ClassSets => include_str!("../schemas/5_class_sets.sql"),
            Self::Heads => include_str!("../schemas/6_heads.sql"),
            Self::Predictions => include_str!("../schemas/7_predictions.sql"),
            Self::GroundTruth => include_str!("../schemas/8_ground_truth.sql"),
            Self::Evaluations => include_str!("../schemas/9_evaluations.sql"),
            Self::Failures => include_str!("../schemas/10_failures.sql"),
            Self::Extractions => include_str!("../schemas/11_extractions.sql"),
            Self::Policies => include_str!("../schemas/12_policies.sql"),
            Self::Embedders => include_str!("../schemas/13_embedders.sql"),
            Self::Embeddings => include_str!("../schemas/14_embeddings.sql"),
            Self::MaskLabels => include_str!("../schemas/15_mask_labels.sql"),
            Self::ImageFeatures => include_str!("../schemas/16_image_features.sql"),
            Self::Prompts => include_str!("../schemas/17_prompts.sql"),
        }
    }

    /// The table as its DDL declares it.
    #[allow(
        clippy::panic,
        clippy::indexing_slicing,
        reason = "the files are part of the program, and a unit test parses each"
    )]
    pub fn definition(self) -> &'static TableDefinition {
        static DEFINITIONS: LazyLock<Vec<TableDefinition>> = LazyLock::new(|| {
            Table::ALL
                .into_iter()
                .map(|table| {
                    parse_create_table(table.ddl())
                        .unwrap_or_else(|err| panic!("schemas/{}: {err}", table.name()))
                })
                .collect()
        });
        &DEFINITIONS[self as usize]
    }

    /// The table's Arrow schema in a store with the default embedding type.
    pub fn schema(self) -> SchemaRef {
        self.definition().schema.clone()
    }

    /// The table's Arrow schema in a store whose embeddings have the given type.
    pub fn schema_with(self, embedding: EmbeddingType) -> SchemaRef {
        let schema = self.schema();
        if self != Self::Masks {
            return schema;
        }
        let fields: Fields = schema
            .fields()
            .iter()
            .map(|field| match field.name().as_str() {
                "embedding" => Arc::new(field.as_ref().clone().with_data_type(embedding.arrow())),
                _ => field.clone(),
            })
            .collect();
        Arc::new(Schema::new(fields))
    }
}

/// Key in the metadata of a column of vectors, whose value is the id of their embedder.
pub const EMBEDDER_KEY: &str = "grainstore.embedder";

/// A table of which every embedder has its own Lance dataset. It is made from a template when the embedder is
/// registered, so that the vectors scan at full speed, can have an index, and are removed with the embedder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VectorTable {
    /// One vector per mask.
    Masks,
    /// One vector per image.
    Images,
}

impl VectorTable {
    /// Both tables.
    pub const ALL: [Self; 2] = [Self::Masks, Self::Images];

    /// The name of the folder of its datasets in a store, and of its schema in SQL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Masks => "vectors",
            Self::Images => "image_vectors",
        }
    }

    /// The template, including its comments.
    pub const fn ddl(self) -> &'static str {
        match self {
            Self::Masks => include_str!("../schemas/vectors.sql"),
            Self::Images => include_str!("../schemas/image_vectors.sql"),
        }
    }

    /// The Arrow schema of an embedder's own table: the column `vector` says in its metadata whose vectors they are.
    ///
    /// # Errors
    /// As [`VectorTable::definition`].
    pub fn schema_of(self, embedder_id: &EmbedderId, dim: u32) -> Result<SchemaRef> {
        let definition = self.definition(dim)?;
        let fields: Fields = definition
            .schema
            .fields()
            .iter()
            .map(|field| match field.name().as_str() {
                "vector" => {
                    let of = (EMBEDDER_KEY.to_owned(), embedder_id.to_string());
                    Arc::new(field.as_ref().clone().with_metadata(HashMap::from([of])))
                }
                _ => field.clone(),
            })
            .collect();
        Ok(Arc::new(Schema::new(fields)))
    }

    /// The table of an embedder whose vectors have `dim` numbers.
    ///
    /// # Errors
    /// [`Error::Schema`] unless `dim` is 1 to 2^31 - 1.
    pub fn definition(self, dim: u32) -> Result<TableDefinition> {
        let fail = |reason: String| Error::Schema {
            table: self.name().to_owned(),
            reason,
        };
        let template = parse_create_table(self.ddl())?;
        let dim = i32::try_from(dim).ok().filter(|dim| *dim > 0);
        let dim = dim.ok_or_else(|| fail("vectors have 1 to 2^31 - 1 numbers".to_owned()))?;
        let fields: Fields = template
            .schema
            .fields()
            .iter()
            .map(|field| match field.data_type() {
                DataType::FixedSizeList(item, _) => {
                    let vector = DataType::FixedSizeList(item.clone(), dim);
                    Arc::new(field.as_ref().clone().with_data_type(vector))
                }
                _ => field.clone(),
            })
            .collect();
        Ok(TableDefinition {
            schema: Arc::new(Schema::new(fields)),
            ..template
        })
    }
}

/// Any dataset of a store: one of the fixed tables, or the vectors of an embedder. Files hold it as its [path](Self::path).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum StoreTable {
    /// A table that every store has.
    Fixed(Table),
    /// The vectors of one embedder.
    Vectors(VectorTable, EmbedderId),
}

impl StoreTable {
    /// The path of its dataset within a store, without `.lance`: `masks`, or `vectors/EMBEDDER_ID`. Commit records and
    /// checksums name it so.
    pub fn path(&self) -> String {
        match self {
            Self::Fixed(table) => table.name().to_owned(),
            Self::Vectors(table, embedder_id) => format!("{}/{embedder_id}", table.name()),
        }
    }

    /// The table of a path.
    pub fn from_path(path: &str) -> Option<Self> {
        let Some((folder, id)) = path.split_once('/') else {
            return Table::from_name(path).map(Self::Fixed);
        };
        let table = VectorTable::ALL
            .into_iter()
            .find(|it| it.name() == folder)?;
        let id = EmbedderId::try_from(id.to_owned()).ok()?;
        Some(Self::Vectors(table, id))
    }
}

impl From<StoreTable> for String {
    fn from(table: StoreTable) -> Self {
        table.path()
    }
}

impl TryFrom<String> for StoreTable {
    type Error = String;

    fn try_from(path: String) -> std::result::Result<Self, String> {
        Self::from_path(&path).ok_or_else(|| format!("'{path}' is no table of a store"))
    }
}

impl From<Table> for StoreTable {
    fn from(table: Table) -> Self {
        Self::Fixed(table)
    }
}

/// The content of a `CREATE TABLE` statement.
#[derive(Debug, Clone)]
pub struct TableDefinition {
    /// Name of the table.
    pub name: String,
    /// Columns in declared order.
    pub schema: SchemaRef,
    /// Columns that identify a row.
    pub key: Vec<String>,
}

/// Number type of a store's embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmbeddingFloat {
    /// 16-bit: half the disk space, and what heads are trained on by default.
    #[default]
    F16,
    /// 32-bit: the precision of the decoder's output.
    F32,
}

/// Type of `masks.embedding`, chosen when a store is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbeddingType {
    /// Number type.
    pub float: EmbeddingFloat,
    /// Numbers per mask: output tokens x token width.
    pub dim: u32,
}

impl Default for EmbeddingType {
    fn default() -> Self {
        Self {
            float: EmbeddingFloat::F16,
            dim: 1024,
        }
    }
}

impl EmbeddingType {
    /// The column's Arrow type.
    pub fn arrow(self) -> DataType {
        let float = match self.float {
            EmbeddingFloat::F16 => DataType::Float16,
            EmbeddingFloat::F32 => DataType::Float32,
        };
        DataType::FixedSizeList(
            list_item(float),
            i32::try_from(self.dim).unwrap_or(i32::MAX),
        )
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::*;

    #[test]
    fn every_schema_file_parses_to_its_own_table() {
        for (position, table) in Table::ALL.into_iter().enumerate() {
            let definition = parse_create_table(table.ddl()).unwrap();
            assert_eq!(definition.name, table.name());
            assert_eq!(table as usize, position);
            assert_eq!(Table::from_name(table.name()), Some(table));
            assert!(!definition.key.is_empty());
        }
    }

    #[test]
    fn types_beyond_standard_sql() {
        let masks = Table::Masks.schema();
        let embedding = masks.field_with_name("embedding").unwrap();
        assert_eq!(
            embedding.data_type(),
            &DataType::FixedSizeList(list_item(DataType::Float16), 1024)
        );
        assert!(embedding.is_nullable());
        let rle = masks.field_with_name("rle").unwrap();
        let DataType::Struct(parts) = rle.data_type() else {
            panic!("rle is {}", rle.data_type())
        };
        let parts: Vec<_> = parts
            .iter()
            .map(|f| (f.name().as_str(), f.data_type()))
            .collect();
        assert_eq!(
            parts,
            [
                ("height", &DataType::Int32),
                ("width", &DataType::Int32),
                ("counts", &DataType::Utf8)
            ]
        );
        assert_eq!(
            Table::Images
                .schema()
                .field_with_name("ingested_at")
                .unwrap()
                .data_type(),
            &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        );
        assert_eq!(
            Table::ClassSets
                .schema()
                .field_with_name("labels")
                .unwrap()
                .data_type(),
            &DataType::List(list_item(DataType::Utf8))
        );
    }

    #[test]
    fn the_embedding_type_is_the_only_thing_a_store_chooses() {
        let f32_small = EmbeddingType {
            float: EmbeddingFloat::F32,
            dim: 64,
        };
        let schema = Table::Masks.schema_with(f32_small);
        assert_eq!(
            schema.field_with_name("embedding").unwrap().data_type(),
            &DataType::FixedSizeList(list_item(DataType::Float32), 64)
        );
        assert_eq!(
            Table::Masks.schema_with(EmbeddingType::default()),
            Table::Masks.schema()
        );
        assert_eq!(Table::Images.schema_with(f32_small), Table::Images.schema());
    }

    #[test]
    fn each_embedder_has_tables_of_its_own_width() {
        for table in VectorTable::ALL {
            let definition = table.definition(384).unwrap();
            assert_eq!(definition.name, table.name());
            let vector = definition.schema.field_with_name("vector").unwrap();
            let expected = DataType::FixedSizeList(list_item(DataType::Float16), 384);
            assert_eq!(
                (vector.data_type(), vector.is_nullable()),
                (&expected, false)
            );
            assert!(table.definition(0).is_err());
        }
        let keys = VectorTable::ALL.map(|table| table.definition(1).unwrap().key.len());
        assert_eq!(keys, [3, 1]);
    }

    #[test]
    fn tables_have_paths_within_a_store() {
        let id = EmbedderId::of_bytes(b"embedder");
        let vectors = VectorTable::ALL.map(|table| StoreTable::Vectors(table, id.clone()));
        let fixed = Table::ALL.into_iter().map(StoreTable::from);
        for table in fixed.chain(vectors) {
            assert_eq!(StoreTable::from_path(&table.path()), Some(table));
        }
        for none in ["vectors", "vectors/x", "mask", "masks/0", ""] {
            assert_eq!(StoreTable::from_path(none), None, "{none}");
        }
    }

    #[test]
    fn bad_ddl_is_refused_with_its_reason() {
        for (ddl, part) in [
            ("SELECT 1", "expected CREATE TABLE"),
            ("CREATE TABLE t (a INT)", "no primary key"),
            ("CREATE TABLE t (a INT, PRIMARY KEY (b))", "no column 'b'"),
            (
                "CREATE TABLE t (a NONSENSE, PRIMARY KEY (a))",
                "Unsupported SQL type",
            ),
            (
                "CREATE TABLE t (a INT, PRIMARY KEY (a)); SELECT 1",
                "one CREATE TABLE",
            ),
            ("CREATE TABLE", "?"),
        ] {
            let message = parse_create_table(ddl).unwrap_err().to_string();
            assert!(message.contains(part), "{ddl}: {message}");
        }
    }
}
