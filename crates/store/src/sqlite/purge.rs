//! Retention of activations by age and by bytes per namespace: the oldest go first, a bounded number at a time.

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::convert::int;
use super::file::execute;
use super::options::Options;
use super::rows::Rows;

/// Pages that a round gives back to the file system at most: 8 MiB.
const FREED_PAGES_MAX: &str = "PRAGMA incremental_vacuum(2048)";

/// Removes activations; see [`crate::Activations::purge`].
#[derive(Debug)]
pub(crate) struct Purge {
    records_max: u64,
    bytes_max: i64,
    deletes: Rows,
}

/// A row that may go: number, start, bytes.
type Candidate = (i64, i64, i64);

impl Purge {
    pub(crate) fn new(options: &Options) -> Self {
        let deletes = Rows::new("DELETE FROM activations WHERE number IN (VALUES", "(?)", ")");
        Self { records_max: options.purge_records_max, bytes_max: int(options.purge_bytes_max), deletes }
    }

    /// One round, in the open transaction; says how many records went.
    pub(crate) async fn run(
        &self,
        connection: &mut SqliteConnection,
        before_ms: u64,
        namespace_bytes_max: u64,
    ) -> Result<u64, sqlx::Error> {
        let (before_ms, kept_max) = (int(before_ms), int(namespace_bytes_max));
        let (mut left, mut left_bytes) = (self.records_max, self.bytes_max);
        for (namespace, bytes) in due(connection, before_ms, kept_max).await? {
            let oldest: Vec<Candidate> = sqlx::query_as(
                "SELECT number, start_ms, bytes FROM activations WHERE namespace = ?
                 ORDER BY start_ms, number LIMIT ?",
            )
            .bind(&*namespace)
            .bind(int(left))
            .fetch_all(&mut *connection)
            .await?;
            let doomed = within(doomed(&oldest, before_ms, bytes - kept_max), left_bytes);
            self.remove(connection, &namespace, doomed).await?;
            left -= doomed.len() as u64;
            left_bytes -= total(doomed);
            if left == 0 || left_bytes <= 0 {
                break;
            }
        }
        // Also when nothing went: earlier rounds may have left free pages.
        execute(connection, FREED_PAGES_MAX).await?;
        Ok(self.records_max - left)
    }

    async fn remove(
        &self,
        connection: &mut SqliteConnection,
        namespace: &str,
        doomed: &[Candidate],
    ) -> Result<(), sqlx::Error> {
        for (sql, chunk) in self.deletes.statements(doomed) {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (number, _, _) in chunk {
                query = query.bind(*number);
            }
            query.execute(&mut *connection).await?;
        }
        sqlx::query("UPDATE usage SET records = records - ?, bytes = bytes - ? WHERE namespace = ?")
            .bind(int(doomed.len() as u64))
            .bind(total(doomed))
            .bind(namespace)
            .execute(&mut *connection)
            .await?;
        execute(connection, "DELETE FROM usage WHERE records <= 0").await
    }
}

/// Namespaces that have something to remove, and how many bytes they hold.
async fn due(
    connection: &mut SqliteConnection,
    before_ms: i64,
    bytes_max: i64,
) -> Result<Vec<(String, i64)>, sqlx::Error> {
    sqlx::query_as(
        "SELECT namespace, bytes FROM usage WHERE bytes > ?2 OR
         (SELECT MIN(start_ms) FROM activations WHERE activations.namespace = usage.namespace) < ?1",
    )
    .bind(before_ms)
    .bind(bytes_max)
    .fetch_all(connection)
    .await
}

/// Which of the oldest records go: those that are too old, and those that stand for bytes beyond the bound.
fn doomed(oldest: &[Candidate], before_ms: i64, mut excess: i64) -> &[Candidate] {
    let kept = oldest.iter().position(|(_, start_ms, bytes)| {
        let keep = *start_ms >= before_ms && excess <= 0;
        excess = excess.saturating_sub(*bytes);
        keep
    });
    &oldest[..kept.unwrap_or(oldest.len())]
}

/// As many of the first as come to so many bytes, and one more.
fn within(rows: &[Candidate], bytes_max: i64) -> &[Candidate] {
    let mut sum = 0_i64;
    let beyond = rows.iter().position(|(_, _, bytes)| {
        let enough = sum >= bytes_max;
        sum = sum.saturating_add(*bytes);
        enough
    });
    &rows[..beyond.unwrap_or(rows.len())]
}

fn total(rows: &[Candidate]) -> i64 {
    rows.iter().map(|(_, _, bytes)| bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [Candidate; 4] = [(1, 10, 100), (2, 20, 100), (3, 30, 100), (4, 40, 100)];

    fn numbers(before_ms: i64, excess: i64) -> Vec<i64> {
        doomed(&ROWS, before_ms, excess).iter().map(|row| row.0).collect()
    }

    #[test]
    fn what_is_too_old_goes() {
        assert_eq!(numbers(30, 0), [1, 2]);
        assert_eq!(numbers(0, 0), [0; 0]);
        assert_eq!(numbers(99, 0), [1, 2, 3, 4]);
    }

    #[test]
    fn the_oldest_go_until_the_rest_fits() {
        assert_eq!(numbers(0, 1), [1]);
        assert_eq!(numbers(0, 100), [1]);
        assert_eq!(numbers(0, 101), [1, 2]);
        assert_eq!(numbers(0, 10_000), [1, 2, 3, 4]);
    }

    #[test]
    fn a_round_is_bounded_by_bytes_but_makes_progress() {
        assert_eq!(within(&ROWS, 1).len(), 1);
        assert_eq!(within(&ROWS, 100).len(), 1);
        assert_eq!(within(&ROWS, 101).len(), 2);
        assert_eq!(within(&ROWS, 10_000).len(), 4);
    }

    #[test]
    fn whichever_of_both_removes_more_decides() {
        assert_eq!(numbers(30, 50), [1, 2]);
        assert_eq!(numbers(20, 300), [1, 2, 3]);
    }
}
