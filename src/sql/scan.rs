//! A scan of a table that can run in another process, partition by partition.

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::{TryStreamExt, stream};
use lance::dataset::scanner::Scanner;

use crate::Error;
use crate::schema::StoreTable;
use crate::store::{OpenStores, Snapshot};

/// What a scan reads: columns of some rows of a table, as a commit left it.
#[derive(Debug, Clone)]
pub(crate) struct ScanSpec {
    /// URI of the store.
    pub store: String,
    /// Number of the commit.
    pub commit: u64,
    /// The table.
    pub table: StoreTable,
    /// The columns, in their order.
    pub columns: Vec<String>,
    /// Which rows; it names columns, literals and operators only.
    pub filter: Option<Expr>,
    /// Rows after which a partition may stop.
    pub limit: Option<u64>,
    /// Partitions: ids of fragments, and the number of their rows.
    pub partitions: Vec<(Vec<u64>, u64)>,
}

/// Reads a table of a store, each partition by itself. A process that did not plan it finds the store by its URI, with the
/// [`OpenStores`] of its session.
#[derive(Debug, Clone)]
pub(crate) struct StoreScanExec {
    spec: Arc<ScanSpec>,
    snapshot: Option<Snapshot>,
    properties: Arc<PlanProperties>,
}

impl StoreScanExec {
    /// A scan of a snapshot in at most `partitions` partitions.
    pub async fn plan(
        snapshot: &Snapshot,
        table: StoreTable,
        schema: SchemaRef,
        filters: &[Expr],
        limit: Option<usize>,
        partitions: usize,
    ) -> crate::Result<Self> {
        let dataset = snapshot.dataset(table.clone()).await?;
        let mut fragments = Vec::new();
        for fragment in dataset.get_fragments() {
            // count(*) is answered by these numbers alone.
            let rows = match fragment.metadata().num_rows() {
                Some(rows) => rows,
                None => fragment.count_rows(None).await?,
            };
            fragments.push((fragment.id() as u64, rows as u64));
        }
        let names = schema.fields().iter().map(|field| field.name().clone());
        let spec = ScanSpec {
            store: snapshot.store().uri().to_owned(),
            commit: snapshot.version(),
            table,
            columns: names.collect(),
            filter: conjunction(filters.to_vec()),
            limit: limit.map(|rows| rows as u64),
            partitions: cut(fragments, partitions),
        };
        Ok(Self {
            snapshot: Some(snapshot.clone()),
            ..Self::new(spec, schema)
        })
    }

    /// The scan that another process has planned.
    pub fn new(spec: ScanSpec, schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(spec.partitions.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            spec: Arc::new(spec),
            snapshot: None,
            properties: Arc::new(properties),
        }
    }

    /// What it reads.
    pub fn spec(&self) -> &ScanSpec {
        &self.spec
    }

    /// Number of rows that it goes through.
    pub fn rows(&self) -> u64 {
        self.spec.partitions.iter().map(|(_, rows)| rows).sum()
    }

    /// Whether every process can evaluate a condition: it calls no function.
    pub fn can_evaluate(filter: &Expr) -> bool {
        let mut is_plain = true;
        let looked = filter.apply(|expr| {
            is_plain &= matches!(
                expr,
                Expr::Column(_)
                    | Expr::Literal(..)
                    | Expr::BinaryExpr(_)
                    | Expr::Not(_)
                    | Expr::IsNull(_)
                    | Expr::IsNotNull(_)
                    | Expr::Between(_)
                    | Expr::InList(_)
                    | Expr::Like(_)
                    | Expr::Negative(_)
            );
            Ok(TreeNodeRecursion::Continue)
        });
        looked.is_ok() && is_plain
    }
}

/// Fragments in at most `parts` parts of neighbours, with about as many rows each.
fn cut(fragments: Vec<(u64, u64)>, parts: usize) -> Vec<(Vec<u64>, u64)> {
    let all: u64 = fragments.iter().map(|(_, rows)| rows).sum();
    let enough = all.div_ceil(parts.max(1) as u64).max(1);
    let mut cut: Vec<(Vec<u64>, u64)> = Vec::new();
    let mut read = 0;
    for (id, rows) in fragments {
        let begins = cut.is_empty() || read / enough > (cut.len() - 1) as u64;
        if begins && cut.len() < parts.max(1) {
            cut.push((Vec::new(), 0));
        }
        if let Some((ids, sum)) = cut.last_mut() {
            ids.push(id);
            *sum += rows;
        }
        read += rows;
    }
    if cut.is_empty() {
        cut.push((Vec::new(), 0));
    }
    cut
}

impl DisplayAs for StoreScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spec = &self.spec;
        write!(
            f,
            "StoreScanExec: table={}, commit={}, columns=[{}], partitions={}",
            spec.table.path(),
            spec.commit,
            spec.columns.join(", "),
            spec.partitions.len()
        )?;
        match &spec.filter {
            Some(filter) => write!(f, ", filter={filter}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for StoreScanExec {
    fn name(&self) -> &str {
        "StoreScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        let rows = match partition {
            Some(partition) => self.spec.partitions.get(partition).map_or(0, |it| it.1),
            None => self.rows(),
        };
        statistics.num_rows = match self.spec.filter {
            None if self.spec.limit.is_none() => Precision::Exact(rows as usize),
            _ => Precision::Inexact(rows as usize),
        };
        Ok(Arc::new(statistics))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let scan = self.clone();
        let schema = self.schema();
        let rows = stream::once(async move { scan.read(partition, &context).await });
        let rows = rows.try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

impl StoreScanExec {
    async fn read(
        &self,
        partition: usize,
        context: &TaskContext,
    ) -> Result<impl futures::Stream<Item = Result<RecordBatch>> + Send + use<>> {
        let scanner = self.scanner(partition, context).await;
        let mut scanner = scanner.map_err(|err| DataFusionError::External(Box::new(err)))?;
        let schema = self.schema();
        if schema.fields().is_empty() {
            // Lance reads at least one column; only the number of rows is wanted.
            scanner.with_row_id();
        }
        let rows = scanner.try_into_stream().await?;
        let rows = rows.map_err(DataFusionError::from);
        Ok(rows.and_then(move |batch| {
            let count = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let columns = schema.fields().iter();
            let columns = columns.filter_map(|field| batch.column_by_name(field.name()).cloned());
            let batch =
                RecordBatch::try_new_with_options(schema.clone(), columns.collect(), &count);
            futures::future::ready(batch.map_err(DataFusionError::from))
        }))
    }

    async fn scanner(&self, partition: usize, context: &TaskContext) -> crate::Result<Scanner> {
        let spec = &self.spec;
        let snapshot = match &self.snapshot {
            Some(snapshot) => snapshot.clone(),
            None => {
                let stores = context.session_config().get_extension::<OpenStores>();
                let stores = stores.ok_or(Error::Internal {
                    what: "a scan that was planned elsewhere runs in a session without stores",
                })?;
                stores.snapshot(&spec.store, spec.commit).await?
            }
        };
        let dataset = snapshot.dataset(spec.table.clone()).await?;
        let (ids, _) = spec.partitions.get(partition).ok_or(Error::Internal {
            what: "a scan has no such partition",
        })?;
        let fragments = dataset.get_fragments().into_iter();
        let fragments = fragments.filter(|fragment| ids.contains(&(fragment.id() as u64)));
        let mut scanner = dataset.scan();
        scanner.with_fragments(fragments.map(|it| it.metadata().clone()).collect());
        scanner.project(&spec.columns)?;
        if let Some(filter) = &spec.filter {
            scanner.filter_expr(filter.clone());
        }
        scanner.limit(spec.limit.map(|rows| rows as i64), None)?;
        scanner.scan_in_order(false);
        Ok(scanner)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::functions::expr_fn::lower;
    use datafusion::prelude::{col, lit};

    use super::*;

    #[test]
    fn fragments_are_cut_into_parts_of_neighbours() {
        let of = |rows: &[u64], parts| {
            let fragments = rows.iter().enumerate().map(|(id, rows)| (id as u64, *rows));
            cut(fragments.collect(), parts)
        };
        assert_eq!(of(&[], 4), [(vec![], 0)]);
        assert_eq!(of(&[5], 4), [(vec![0], 5)]);
        assert_eq!(
            of(&[10, 10, 10, 10, 10], 2),
            [(vec![0, 1, 2], 30), (vec![3, 4], 20)]
        );
        assert_eq!(of(&[1, 1, 1], 9).len(), 3);
        let uneven = of(&[100, 1, 1, 100, 1], 3);
        assert_eq!(uneven, [(vec![0], 100), (vec![1, 2, 3], 102), (vec![4], 1)]);
    }

    #[test]
    fn conditions_with_functions_are_left_to_the_plan() {
        assert!(StoreScanExec::can_evaluate(
            &col("a").gt(lit(1)).and(col("b").is_null())
        ));
        assert!(!StoreScanExec::can_evaluate(&lower(col("a")).eq(lit("x"))));
    }
}
