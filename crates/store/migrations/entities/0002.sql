-- What is in a package is listed by it, and public packages are listed for everyone. Before, there was neither.
ALTER TABLE entities ADD COLUMN package TEXT;
ALTER TABLE entities ADD COLUMN is_public INTEGER NOT NULL DEFAULT 0;
CREATE INDEX entities_by_package ON entities (namespace, package, type, updated_ms, name) WHERE package IS NOT NULL;
CREATE INDEX entities_public ON entities (namespace, type, updated_ms, name) WHERE is_public;
