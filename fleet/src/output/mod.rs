//! What commands print, in kubectl's forms.

pub mod age;
pub mod console;
pub mod format;
pub mod jsonpath;
pub mod page;
pub mod table;
pub mod yaml;
