//! What the control plane shows of the pool: its counts, asked for when somebody reads the page.

use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use triplane_core::pool::{NodeSummary, Summary};

use crate::Handle;

/// The metrics of the control plane: what it said when it was asked last.
#[derive(Clone, Debug)]
pub struct Metrics {
    control: Handle,
    last: Arc<ArcSwap<Summary>>,
}

impl Metrics {
    /// Adds them to a page.
    #[must_use]
    pub fn new(control: Handle, registry: &mut Registry) -> Self {
        let last = Arc::new(ArcSwap::from_pointee(Summary::default()));
        registry.register_collector(Box::new(PoolCollector(Arc::clone(&last))));
        Self { control, last }
    }

    /// Asks the control plane. When it does not answer they stay as they were.
    pub async fn observe(&self) {
        match self.control.summary().await {
            Some(summary) => self.last.store(Arc::new(summary)),
            None => tracing::warn!("the control plane does not say how it is"),
        }
    }
}

#[derive(Debug)]
struct PoolCollector(Arc<ArcSwap<Summary>>);

impl Collector for PoolCollector {
    fn encode(&self, mut page: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let summary = self.0.load_full();
        encode_states(&mut page, &summary)?;
        encode_nodes(&mut page, &summary)?;
        let totals = summary.totals;
        for (name, help, value) in [
            ("started", "containers that became ready", totals.started),
            ("start_failures", "containers that could not be started", totals.start_failures),
            ("collected", "containers that were idle for too long and collected", totals.collected),
            ("evicted", "idle containers that made room for others", totals.evicted),
            ("unmarked", "marks that were withdrawn", totals.unmarked),
            ("exited", "containers that ended by themselves", totals.exited),
            ("refused", "demands that could not be met", totals.refused),
        ] {
            let counter = ConstCounter::new(value);
            let name = format!("triplane_control_{name}");
            let encoder = page.encode_descriptor(&name, help, None, counter.metric_type())?;
            counter.encode(encoder)?;
        }
        gauge(&mut page, "triplane_control_waiting", "calls that wait for a container", summary.waiting)
    }
}

fn encode_states(page: &mut DescriptorEncoder<'_>, summary: &Summary) -> Result<(), std::fmt::Error> {
    let states = summary.containers;
    let name = "triplane_control_containers";
    let mut family = page.encode_descriptor(
        name,
        "containers by state",
        None,
        prometheus_client::metrics::MetricType::Gauge,
    )?;
    for (state, count) in [
        ("starting", states.starting),
        ("ready", states.ready),
        ("marked", states.marked),
        ("stopping", states.stopping),
    ] {
        ConstGauge::new(i64::from(count)).encode(family.encode_family(&[("state", state)])?)?;
    }
    Ok(())
}

fn encode_nodes(page: &mut DescriptorEncoder<'_>, summary: &Summary) -> Result<(), std::fmt::Error> {
    let offered = summary.nodes.iter().map(NodeSummary::memory_mb).sum();
    let charged = summary.nodes.iter().map(NodeSummary::charged_mb).sum();
    gauge(
        page,
        "triplane_control_memory_offered_megabytes",
        "memory that nodes offer to containers",
        offered,
    )?;
    gauge(
        page,
        "triplane_control_memory_charged_megabytes",
        "memory that containers are charged for",
        charged,
    )
}

fn gauge(
    page: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), std::fmt::Error> {
    let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    let encoder = page.encode_descriptor(name, help, None, gauge.metric_type())?;
    gauge.encode(encoder)
}
