//! Tables without borders, for `list`, `status` and their like.
//!
//! Rule of this file: columns are measured, then narrowed from the widest, then dropped in the
//! order that the caller gave, until the table fits. Away from a terminal nothing is cut.

use super::style::{Look, Role};
use super::text::{self, Line};

const GAP: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// How one column behaves.
#[derive(Clone, Debug)]
pub struct Column {
    header: String,
    align: Align,
    least: usize,
    drop: u8,
}

impl Column {
    /// Never narrowed below its header and eight columns, never dropped.
    #[must_use]
    pub fn new(header: &str) -> Self {
        Column { header: header.to_owned(), align: Align::Left, least: 8, drop: 0 }
    }

    /// Aligned to the right, as numbers are, and never narrowed.
    #[must_use]
    pub fn right(mut self) -> Self {
        self.align = Align::Right;
        self.least = usize::MAX;
        self
    }

    /// Columns below which it is not narrowed.
    #[must_use]
    pub fn at_least(mut self, columns: usize) -> Self {
        self.least = columns;
        self
    }

    /// Left out of a narrow terminal, the highest rank first. Rank 0 stays.
    #[must_use]
    pub fn droppable(mut self, rank: u8) -> Self {
        self.drop = rank;
        self
    }
}

/// One cell: cleaned text in a role.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    role: Role,
    text: String,
}

impl Cell {
    #[must_use]
    pub fn new(role: Role, text: &str) -> Self {
        Cell { role, text: text::flat(text) }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::new(Role::Text, text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::new(Role::Text, &text)
    }
}

#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    #[must_use]
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Table { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    /// A row shorter than the columns ends in empty cells; what is longer is left out.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let mut row: Vec<Cell> = cells.into_iter().collect();
        row.resize_with(self.columns.len(), Cell::default);
        self.rows.push(row);
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Every line with its line end; nothing at all without rows.
    #[must_use]
    pub fn render(&self, look: &Look) -> String {
        if self.is_empty() {
            return String::new();
        }
        let widths = self.widths(look.clip_width());
        let headers: Vec<Cell> =
            self.columns.iter().map(|column| Cell::new(Role::Strong, &column.header)).collect();
        let mut out = String::new();
        for row in std::iter::once(&headers).chain(&self.rows) {
            out.push_str(&self.line(row, &widths, look).paint(look));
            out.push('\n');
        }
        out
    }

    fn line(&self, row: &[Cell], widths: &[Option<usize>], look: &Look) -> Line {
        let mut line = Line::new();
        let mut column = 0;
        let shown =
            row.iter().zip(&self.columns).zip(widths).filter_map(|(pair, width)| Some((pair, (*width)?)));
        for ((cell, spec), width) in shown {
            let shown = text::fit(&cell.text, width, look.ellipsis());
            let indent = match spec.align {
                Align::Left => 0,
                Align::Right => width.saturating_sub(text::width(&shown)),
            };
            // Padding goes before a cell and not after, so that no line ends in spaces.
            if !shown.is_empty() {
                line = line.padded(column + indent).with(cell.role, shown);
            }
            column += width + GAP;
        }
        line.fit(look.clip_width(), look.ellipsis())
    }

    /// Columns that each column gets; `None` when it is left out.
    fn widths(&self, max: usize) -> Vec<Option<usize>> {
        let natural: Vec<usize> = (0..self.columns.len())
            .map(|at| {
                let cells = self.rows.iter().map(|row| text::width(&row[at].text));
                cells.max().unwrap_or(0).max(text::width(&self.columns[at].header))
            })
            .collect();
        let mut kept: Vec<bool> = vec![true; self.columns.len()];
        loop {
            let mut widths: Vec<Option<usize>> =
                natural.iter().zip(&kept).map(|(width, kept)| kept.then_some(*width)).collect();
            if self.narrow(&mut widths, max) {
                return widths;
            }
            let candidates = (0..kept.len()).filter(|at| kept[*at] && self.columns[*at].drop > 0);
            match candidates.max_by_key(|at| self.columns[*at].drop) {
                Some(at) => kept[at] = false,
                None => return widths,
            }
        }
    }

    /// Takes from the widest column that may give until the row fits; false when it cannot.
    fn narrow(&self, widths: &mut [Option<usize>], max: usize) -> bool {
        loop {
            let shown = widths.iter().flatten().count();
            let total = widths.iter().flatten().sum::<usize>() + GAP * shown.saturating_sub(1);
            if total <= max {
                return true;
            }
            let spare = |at: usize, width: usize| {
                let least = self.columns[at].least.max(text::width(&self.columns[at].header));
                width.saturating_sub(least)
            };
            let widest = widths
                .iter()
                .enumerate()
                .filter_map(|(at, width)| {
                    width.filter(|width| spare(at, *width) > 0).map(|width| (width, at))
                })
                .max();
            match widest {
                Some((width, at)) => widths[at] = Some(width - 1),
                None => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::style::tests::look;
    use super::*;

    fn table() -> Table {
        let mut table = Table::new([
            Column::new("client"),
            Column::new("domain"),
            Column::new("release").droppable(1),
            Column::new("disk").right(),
            Column::new("state").droppable(2),
        ]);
        table.row([
            "ville-lyon".into(),
            "ville-lyon.geoclic.example".into(),
            "20261120-101500".into(),
            "7 %".into(),
            Cell::new(Role::Good, "healthy"),
        ]);
        table.row([
            "saint-étienne".into(),
            "日本語.example".into(),
            "".into(),
            "93 %".into(),
            Cell::new(Role::Bad, "disk nearly\u{1b}[2J full"),
        ]);
        table.row(["short".into()]);
        table
    }

    #[test]
    fn a_table_shows_whole_where_there_is_room() {
        insta::assert_snapshot!(table().render(&look(100, 24)), @"
        client         domain                      release          disk  state
        ville-lyon     ville-lyon.geoclic.example  20261120-101500   7 %  healthy
        saint-étienne  日本語.example                               93 %  disk nearly full
        short
        ");
    }

    #[test]
    fn a_narrow_one_narrows_then_drops_its_columns() {
        insta::assert_snapshot!(table().render(&look(64, 24)), @"
        client         domain         release        disk  state
        ville-lyon     ville-lyon.g…  20261120-101…   7 %  healthy
        saint-étienne  日本語.examp…                 93 %  disk nearly…
        short
        ");
        insta::assert_snapshot!(table().render(&look(40, 24)), @"
        client      domain      release     disk
        ville-lyon  ville-lyo…  20261120-…   7 %
        saint-éti…  日本語.ex…              93 %
        short
        ");
        for width in 20..100 {
            let text = table().render(&look(width, 24));
            assert!(text.lines().all(|line| text::width(line) <= width), "{width}:\n{text}");
        }
    }

    #[test]
    fn away_from_a_terminal_nothing_is_cut_or_coloured() {
        let away = Look { clip: false, terminal: false, ..look(30, 24) };
        assert_eq!(table().render(&away), table().render(&look(100, 24)));
    }

    #[test]
    fn colour_does_not_move_a_column() {
        let colored = table().render(&Look { color: true, ..look(64, 24) });
        assert!(colored.contains("\u{1b}["));
        let bare: String = colored.lines().map(|line| text::flat(line) + "\n").collect();
        assert_eq!(bare, table().render(&look(64, 24)));
    }

    #[test]
    fn no_row_no_table() {
        assert_eq!(Table::new([Column::new("client")]).render(&look(80, 24)), "");
    }
}
