//! Figures that a passing scenario measured: `scripts/test.sh` prints them.

use std::io::Write as _;

/// One line of them.
pub fn figure(text: &str) {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("lab-figures.txt");
    let mut file = std::fs::File::options().create(true).append(true).open(path).expect("a file of figures");
    writeln!(file, "{text}").expect("a line");
}
