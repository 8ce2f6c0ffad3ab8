//! The management plane: what people create.
