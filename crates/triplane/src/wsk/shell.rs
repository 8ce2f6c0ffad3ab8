//! What commands share: the platform that they ask, and how they show what it says.

use std::io::Write;

use serde_json::Value;

use super::api::Api;
use super::cli::Page;
use super::failure::Failure;

/// See the module.
#[derive(Debug)]
pub(crate) struct Shell {
    pub(crate) api: Api,
    /// Whether JSON is printed instead of text.
    pub(crate) json: bool,
}

impl Shell {
    /// Says that something was done; as JSON it is what the platform answered.
    pub(crate) fn done(&self, text: &str, answer: &Value) {
        match self.json {
            true => print_json(answer),
            false => print(&format!("ok: {text}\n")),
        }
    }

    /// Shows an entity, or one field of it.
    pub(crate) fn entity(&self, what: &str, entity: &Value, field: Option<&str>) -> Result<(), Failure> {
        let Some(field) = field else {
            self.title(&format!("ok: got {what}"));
            print_json(entity);
            return Ok(());
        };
        let Some(value) = entity.get(field) else {
            let fields: Vec<_> = entity.as_object().into_iter().flat_map(|entity| entity.keys()).collect();
            let fields = fields.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Failure::Usage(format!("{what} has no field '{field}'; it has {fields}")));
        };
        self.title(&format!("ok: got {what}, displaying field {field}"));
        print_json(value);
        Ok(())
    }

    /// A line for people.
    pub(crate) fn title(&self, text: &str) {
        if !self.json {
            print(&format!("{text}\n"));
        }
    }

    /// Shows a list, as a table that `text` makes.
    pub(crate) fn list(&self, items: &Value, text: impl FnOnce(&[Value]) -> String) {
        match (self.json, items) {
            (false, Value::Array(items)) => print(&text(items)),
            _ => print_json(items),
        }
    }

    /// Reads a page of a list, sorted as was asked for.
    pub(crate) async fn page(&self, path: &str, page: &Page) -> Result<Value, Failure> {
        let Page { skip, limit, name_sort } = page;
        let mut items = self.api.get(&format!("{path}?limit={limit}&skip={skip}")).await?;
        if let (true, Value::Array(items)) = (*name_sort, &mut items) {
            items.sort_by_key(full_name);
        }
        Ok(items)
    }
}

/// `/namespace/[package/]name` of an entity.
pub(crate) fn full_name(entity: &Value) -> String {
    format!("/{}/{}", text(entity, "namespace"), text(entity, "name"))
}

/// A field that is a text.
pub(crate) fn text<'a>(entity: &'a Value, field: &str) -> &'a str {
    entity[field].as_str().unwrap_or_default()
}

/// The value of a key in an array of keys and values, as annotations and parameters are.
pub(crate) fn keyed<'a>(pairs: &'a Value, key: &str) -> Option<&'a Value> {
    pairs.as_array()?.iter().find(|pair| pair["key"] == key).map(|pair| &pair["value"])
}

/// Prints to stdout. Who closed it does not want to read on.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The same of JSON, indented.
pub(crate) fn print_json(value: &Value) {
    print(&format!("{value:#}\n"));
}
