//! Output: the console, tables and JSON.

pub(crate) mod console;
pub(crate) mod fields;
pub(crate) mod json;
pub(crate) mod screen;
pub(crate) mod table;
pub(crate) mod time;
