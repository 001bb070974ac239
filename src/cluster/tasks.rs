//! Plans for a cluster, whose tasks do not see each other.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinType, not_impl_err};
use datafusion::error::Result;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

/// Makes a plan right where each partition of a stage is a task of its own, and rows go from one stage to the next in files:
///
/// - Joins that compare notes between their partitions get one partition: a row without a partner is found only by whoever has
///   seen all others.
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
        let hash = plan.downcast_ref::<HashJoinExec>();
        if hash.is_some_and(|join| join.null_aware) {
            // Ballista 54.1 exchanges the sides of this join, and its scheduler then waits for ever.
            return not_impl_err!("it has NOT IN with a query; NOT EXISTS would run there");
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

fn one(plan: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    if plan.output_partitioning().partition_count() == 1 {
        return plan.clone();
    }
    Arc::new(CoalescePartitionsExec::new(plan.clone()))
}
