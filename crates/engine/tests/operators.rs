//! The table of operators in the documentation is the one of the engine.
#![allow(missing_docs)]

use std::path::Path;

use shiftwise_engine::operators_page;

/// `SHIFTWISE_WRITE_DOCS=1` writes the page in place of comparing it.
#[test]
fn the_page_of_operators_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operators.md");
    if std::env::var_os("SHIFTWISE_WRITE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // A page that is half-written is written again.
        #[allow(clippy::disallowed_methods)]
        std::fs::write(&path, operators_page()).unwrap();
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(page == operators_page(), "docs/operators.md is out of date: run `just operators`");
}
