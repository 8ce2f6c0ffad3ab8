//! What was measured over time, in a bounded number of points: when there are too many, two become one.

/// The most points; a plot has no more pixels that matter.
const POINTS_MAX: usize = 360;
/// The time of a point at first.
const INTERVAL_MS: u64 = 1_000;

/// What was measured within some time. All are sums, so points can be added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) length_ms: u64,
    pub(super) starting_mb_ms: u64,
    pub(super) busy_mb_ms: u64,
    pub(super) idle_mb_ms: u64,
    pub(super) node_ms: u64,
    pub(super) fragmentation_ppm_ms: u64,
    pub(super) calls: u64,
    pub(super) cold: u64,
    pub(super) waited_ms: u64,
}

impl Point {
    fn add(&mut self, other: &Self) {
        self.length_ms += other.length_ms;
        self.starting_mb_ms += other.starting_mb_ms;
        self.busy_mb_ms += other.busy_mb_ms;
        self.idle_mb_ms += other.idle_mb_ms;
        self.node_ms += other.node_ms;
        self.fragmentation_ppm_ms += other.fragmentation_ppm_ms;
        self.calls += other.calls;
        self.cold += other.cold;
        self.waited_ms += other.waited_ms;
    }
}

/// The points, one after the other.
#[derive(Debug)]
pub(super) struct Series {
    interval_ms: u64,
    closed: Vec<Point>,
    current: Point,
}

impl Default for Series {
    fn default() -> Self {
        Self { interval_ms: INTERVAL_MS, closed: Vec::new(), current: Point::default() }
    }
}

impl Series {
    /// Adds to the point of now.
    pub(super) fn add(&mut self, measured: &Point) {
        self.current.add(measured);
    }

    /// When the point of now ends, if that is not after this time.
    pub(super) fn end_ms_within(&self, to_ms: u64) -> Option<u64> {
        let end_ms = (self.closed.len() as u64 + 1) * self.interval_ms;
        (end_ms <= to_ms).then_some(end_ms)
    }

    /// The point of now is over.
    pub(super) fn close(&mut self, fragmentation_ppm: u64) {
        self.current.fragmentation_ppm_ms = fragmentation_ppm * self.current.length_ms;
        self.closed.push(std::mem::take(&mut self.current));
        if self.closed.len() >= POINTS_MAX {
            self.halve();
        }
    }

    /// All points and their time; the last one may be shorter.
    pub(super) fn into_points(mut self) -> (u64, Vec<Point>) {
        if self.current.length_ms > 0 {
            let before =
                self.closed.last().map_or(0, |last| last.fragmentation_ppm_ms / last.length_ms.max(1));
            self.current.fragmentation_ppm_ms = before * self.current.length_ms;
            self.closed.push(self.current);
        }
        (self.interval_ms, self.closed)
    }

    /// The sum of all points.
    pub(super) fn total(&self) -> Point {
        let mut total = self.current;
        self.closed.iter().for_each(|point| total.add(point));
        total
    }

    fn halve(&mut self) {
        self.interval_ms *= 2;
        let pairs = self.closed.chunks(2).map(|pair| {
            let mut sum = Point::default();
            pair.iter().for_each(|point| sum.add(point));
            sum
        });
        self.closed = pairs.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_stay_bounded_and_lose_nothing() {
        let mut series = Series::default();
        for second in 0..100_000_u64 {
            series.add(&Point { length_ms: 1_000, calls: second % 2, ..Point::default() });
            while series.end_ms_within((second + 1) * 1_000).is_some() {
                series.close(7);
            }
        }
        assert_eq!(series.total().calls, 50_000);
        let (interval_ms, points) = series.into_points();
        assert!(points.len() <= POINTS_MAX && points.len() >= POINTS_MAX / 2, "{}", points.len());
        assert!(points.iter().rev().skip(1).all(|point| point.length_ms == interval_ms));
        assert!(points.iter().all(|point| point.fragmentation_ppm_ms == 7 * point.length_ms));
    }
}
