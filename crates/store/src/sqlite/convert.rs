//! Between our types and SQLite's: 64-bit signed integers, texts, blobs.

use sqlx::FromRow;
use sqlx::sqlite::SqliteRow;
use triplane_model::ActivationId;

use crate::StoreError;

/// A number that is never that large in earnest: times, counts, sizes.
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number that was never negative.
pub(crate) fn uint(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// An id as it is stored: 16 bytes.
pub(crate) fn id_bytes(id: ActivationId) -> Vec<u8> {
    id.bits().to_be_bytes().to_vec()
}

/// A stored id.
pub(crate) fn id_from(bytes: &[u8]) -> Option<ActivationId> {
    bytes.try_into().ok().map(|bytes| ActivationId::from_bits(u128::from_be_bytes(bytes)))
}

/// The rows that can be read; the others are logged and left out, so that one of them does not hide all.
pub(crate) fn readable<T>(rows: Vec<SqliteRow>) -> impl Iterator<Item = T>
where
    T: for<'r> FromRow<'r, SqliteRow>,
{
    rows.into_iter().filter_map(|row| match T::from_row(&row) {
        Ok(read) => Some(read),
        Err(error) => {
            tracing::error!(%error, "a stored row cannot be read; it is left out");
            None
        }
    })
}

/// What a failed statement means to the caller.
pub(crate) fn unavailable(error: &sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => StoreError::Corrupt(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// Whether a statement failed because another program holds the file.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
    // SQLITE_BUSY and SQLITE_LOCKED, less their extensions
    code.is_some_and(|code| matches!(code & 0xff, 5 | 6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_back_as_they_were_written() {
        let id = ActivationId::from_bits(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        assert_eq!(id_from(&id_bytes(id)), Some(id));
        assert_eq!(id_from(b"short"), None);
    }
}
