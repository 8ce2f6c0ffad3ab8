//! Retention of activations by age and by bytes per namespace: the oldest go first, a bounded number at a time.

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::convert::int;
use super::file::execute;
use super::options::Options;
use super::rows::Rows;

/// Removes activations; see [`crate::Activations::purge`].
#[derive(Debug)]
pub(crate) struct Purge {
    records_max: u64,
    deletes: Rows,
}

/// A row that may go: number, start, bytes.
type Candidate = (i64, i64, i64);

impl Purge {
    pub(crate) fn new(options: &Options) -> Self {
        let deletes = Rows::new("DELETE FROM activations WHERE number IN (VALUES", "(?)", ")");
        Self { records_max: options.purge_records_max, deletes }
    }

    /// One round, in the open transaction; says how many records went.
    pub(crate) async fn run(
        &self,
        connection: &mut SqliteConnection,
        before_ms: u64,
        namespace_bytes_max: u64,
    ) -> Result<u64, sqlx::Error> {
        let (before_ms, bytes_max) = (int(before_ms), int(namespace_bytes_max));
        let mut left = self.records_max;
        for (namespace, bytes) in due(connection, before_ms, bytes_max).await? {
            let oldest: Vec<Candidate> = sqlx::query_as(
                "SELECT number, start_ms, bytes FROM activations WHERE namespace = ?
                 ORDER BY start_ms, number LIMIT ?",
            )
            .bind(&*namespace)
            .bind(int(left))
            .fetch_all(&mut *connection)
            .await?;
            let doomed = doomed(&oldest, before_ms, bytes - bytes_max);
            self.remove(connection, &namespace, doomed).await?;
            left -= doomed.len() as u64;
            if left == 0 {
                break;
            }
        }
        if left < self.records_max {
            execute(connection, "PRAGMA incremental_vacuum(1024)").await?;
        }
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
        let bytes: i64 = doomed.iter().map(|(_, _, bytes)| bytes).sum();
        sqlx::query("UPDATE usage SET records = records - ?, bytes = bytes - ? WHERE namespace = ?")
            .bind(int(doomed.len() as u64))
            .bind(bytes)
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
    fn whichever_of_both_removes_more_decides() {
        assert_eq!(numbers(30, 50), [1, 2]);
        assert_eq!(numbers(20, 300), [1, 2, 3]);
    }
}
