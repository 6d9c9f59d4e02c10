//! `docs/faults.md` promises a test for every row: each is there, under that name.

use super::root;

#[test]
fn every_row_of_the_fault_table_names_a_test_that_exists() {
    let text = std::fs::read_to_string(root().join("docs/faults.md")).unwrap();
    let rows: Vec<&str> =
        text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fault |")).collect();
    assert!(rows.len() >= 16, "{}", rows.len());
    for row in rows {
        let proof = row.trim_end_matches(" |").rsplit("| ").next().unwrap().trim_matches('`');
        let (file, test) = proof.split_once("::").unwrap_or_else(|| panic!("no proof in: {row}"));
        let code =
            std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let at = code.find(&format!("fn {test}()")).unwrap_or_else(|| panic!("{file} has no {test}"));
        assert!(code[..at].trim_end().ends_with("#[test]"), "{file}::{test} is no test");
    }
}
