//! Plans for a cluster, whose tasks do not see each other.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinType, not_impl_err};
use datafusion::error::Result;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, PartitionMode};
use datafusion::physical_plan::limit::LocalLimitExec;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

/// Makes a plan right where each partition of a stage is a task of its own, and rows go from one stage to the next in files:
///
/// - Joins that compare notes between their partitions get one partition: a row without a partner is found only by whoever has
///   seen all others.
/// - Hash joins are as [`hash_join`] says.
/// - Rows that are dealt out anew are sorted again where the plan counts on their order, because files do not say it.
///
/// # Errors
/// For joins that cannot run on a cluster.
pub(super) fn for_tasks(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|plan| {
        if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>()
            && *join.join_type() != JoinType::Inner
        {
            let children = vec![one(join.left()), one(join.right())];
            return Ok(Transformed::yes(plan.with_new_children(children)?));
        }
        if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
            if join.null_aware {
                // Ballista 54.1 exchanges the sides of this join, and its scheduler then waits for ever.
                return not_impl_err!("it has NOT IN with a query; NOT EXISTS would run there");
            }
            return hash_join(plan.clone(), join);
        }
        if plan.downcast_ref::<RepartitionExec>().is_some()
            && let Some(order) = plan.output_ordering()
        {
            let sort = SortExec::new(order.clone(), plan.clone());
            let sort = sort.with_preserve_partitioning(true);
            return Ok(Transformed::yes(Arc::new(sort)));
        }
        Ok(Transformed::no(plan))
    })
    .data()
}

/// - Ballista deals a join with a collected left side out anew unless each row on the right is enough to know what comes of it.
///   If the join has one partition, what is above counts on that, so here it is one of two dealt sides, of one partition each.
/// - Of a join with two dealt sides, Ballista exchanges these when the left one turns out larger, and with them the order of
///   its rows. So they are sorted behind it, in a stage of their own.
/// - DataFusion 54.1 does not write down after how many rows a join may stop, nor that none of its columns are wanted, so a limit
///   and a projection behind it say so.
fn hash_join(
    plan: Arc<dyn ExecutionPlan>,
    join: &HashJoinExec,
) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let is_collected = *join.partition_mode() == PartitionMode::CollectLeft;
    let has_one = plan.output_partitioning().partition_count() == 1;
    let by_right = matches!(
        join.join_type(),
        JoinType::Inner
            | JoinType::Right
            | JoinType::RightSemi
            | JoinType::RightAnti
            | JoinType::RightMark
    );
    let order = plan.output_ordering().cloned();
    let needs_one = is_collected && has_one && !by_right;
    let needs_order = order.is_some() && (!is_collected || !by_right);
    let has_columns = join.projection.as_deref().is_none_or(|it| !it.is_empty());
    if !needs_one && !needs_order && has_columns && join.fetch().is_none() {
        return Ok(Transformed::no(plan));
    }
    let mut same = join.builder().with_fetch(None);
    if !has_columns {
        same = same.with_projection(None);
    }
    if needs_one {
        same = same.with_partition_mode(PartitionMode::Partitioned);
        same = same.with_new_children(vec![one(join.left()), one(join.right())])?;
    }
    let mut plan = same.build_exec()?;
    match (order.filter(|_| needs_order), join.fetch()) {
        (Some(order), fetch) => {
            let together = Arc::new(CoalescePartitionsExec::new(plan));
            plan = Arc::new(SortExec::new(order, together).with_fetch(fetch));
        }
        (None, Some(fetch)) => plan = Arc::new(LocalLimitExec::new(plan, fetch)),
        (None, None) => {}
    }
    if !has_columns {
        let none: [ProjectionExpr; 0] = [];
        plan = Arc::new(ProjectionExec::try_new(none, plan)?);
    }
    Ok(Transformed::yes(plan))
}

fn one(plan: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    if plan.output_partitioning().partition_count() == 1 {
        return plan.clone();
    }
    Arc::new(CoalescePartitionsExec::new(plan.clone()))
}
