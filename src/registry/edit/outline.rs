//! A TOML text as its parts: which lines say what.
//!
//! Edits cut and insert whole lines of the text itself, so what they do not touch stays byte for
//! byte, line ends and all.

use std::ops::Range;

use toml_edit::{Document, Item, Table, Value};

/// A header, or a key with its value, and where it stands.
pub(super) struct Part {
    /// Full path, the header's included.
    pub(super) path: Vec<String>,
    /// The value, with its place; none for a header.
    pub(super) value: Option<(Range<usize>, Value)>,
    /// First byte of its first line to the byte after its last line end.
    pub(super) lines: Range<usize>,
}

impl Part {
    pub(super) fn is_header(&self) -> bool {
        self.value.is_none()
    }

    pub(super) fn is_under(&self, path: &[String]) -> bool {
        self.path.starts_with(path)
    }
}

pub(super) struct Outline<'t> {
    pub(super) text: &'t str,
    /// In the order of the file.
    pub(super) parts: Vec<Part>,
}

impl<'t> Outline<'t> {
    pub(super) fn parse(text: &'t str) -> Result<Self, toml_edit::TomlError> {
        let document = Document::parse(text)?;
        let mut outline = Outline { text, parts: Vec::new() };
        outline.walk(document.as_table(), &mut Vec::new());
        outline.parts.sort_by_key(|part| part.lines.start);
        Ok(outline)
    }

    fn walk(&mut self, table: &Table, path: &mut Vec<String>) {
        for (key, item) in table {
            path.push(key.to_owned());
            let place = table.key(key).and_then(toml_edit::Key::span).unwrap_or_default();
            match item {
                Item::None => {}
                Item::Value(value) => {
                    let span = value.span().unwrap_or_default();
                    let lines = self.whole_lines(&(place.start..span.end));
                    self.parts.push(Part { path: path.clone(), value: Some((span, value.clone())), lines });
                }
                Item::Table(table) => self.walk_table(table, path),
                Item::ArrayOfTables(tables) => tables.iter().for_each(|table| self.walk_table(table, path)),
            }
            path.pop();
        }
    }

    fn walk_table(&mut self, table: &Table, path: &mut Vec<String>) {
        if let (false, false, Some(span)) = (table.is_dotted(), table.is_implicit(), table.span()) {
            let lines = self.whole_lines(&span);
            self.parts.push(Part { path: path.clone(), value: None, lines });
        }
        self.walk(table, path);
    }

    /// Widens a range to the lines it stands on, the last line end included.
    fn whole_lines(&self, range: &Range<usize>) -> Range<usize> {
        let start = self.text[..range.start].rfind('\n').map_or(0, |at| at + 1);
        let end = self.text[range.end..].find('\n').map_or(self.text.len(), |at| range.end + at + 1);
        start..end
    }

    /// The line in front of a line start.
    fn line_before(&self, start: usize) -> Option<Range<usize>> {
        let end = start.checked_sub(1)?;
        Some(self.whole_lines(&(end..end)))
    }

    /// The line that starts here.
    fn line_at(&self, start: usize) -> Option<Range<usize>> {
        (start < self.text.len()).then(|| self.whole_lines(&(start..start)))
    }

    /// A line that is nothing but a comment: not one inside a text over several lines.
    fn is_comment(&self, line: &Range<usize>) -> bool {
        self.text[line.clone()].trim_start().starts_with('#')
            && !self.parts.iter().any(|part| part.lines.contains(&line.start))
    }

    pub(super) fn is_blank(&self, line: &Range<usize>) -> bool {
        self.text[line.clone()].trim().is_empty()
    }

    /// Where the block of comments directly above a line starts; the line itself without one.
    pub(super) fn with_comments_above(&self, mut start: usize) -> usize {
        while let Some(line) = self.line_before(start).filter(|line| self.is_comment(line)) {
            start = line.start;
        }
        start
    }

    /// Where the block of comments directly below a section ends, unless it touches the next header
    /// and so belongs to that.
    pub(super) fn with_comments_below(&self, end: usize) -> usize {
        let mut below = end;
        while let Some(line) = self.line_at(below).filter(|line| self.is_comment(line)) {
            below = line.end;
        }
        let touches = self.parts.iter().any(|part| part.is_header() && part.lines.start == below);
        if touches { end } else { below }
    }

    /// The header that a part stands under: how many steps of its path are written there.
    pub(super) fn section_of(&self, index: usize) -> usize {
        self.parts[..=index].iter().rev().find(|part| part.is_header()).map_or(0, |part| part.path.len())
    }

    /// The line end that the text uses.
    pub(super) fn line_end(&self) -> &'static str {
        match self.text.find('\n') {
            Some(at) if self.text[..at].ends_with('\r') => "\r\n",
            _ => "\n",
        }
    }

    /// The text without some ranges of whole lines, which are in order; and without the blank lines
    /// that would stand doubled.
    pub(super) fn without(&self, ranges: &[Range<usize>]) -> String {
        let mut kept = String::with_capacity(self.text.len());
        let mut from = 0;
        for range in ranges {
            if range.end <= from {
                continue;
            }
            kept.push_str(&self.text[from..range.start.max(from)]);
            from = range.end;
            let after_blank = self.line_before(range.start).is_none_or(|line| self.is_blank(&line));
            while let Some(line) = self.line_at(from).filter(|line| after_blank && self.is_blank(line)) {
                from = line.end;
            }
        }
        kept.push_str(&self.text[from..]);
        if from == self.text.len() && !ranges.is_empty() {
            // Nothing follows any more, so nothing has to be kept apart.
            while let Some(start) =
                kept.strip_suffix('\n').map(|kept| kept.rfind('\n').map_or(0, |at| at + 1))
            {
                if !kept[start..].trim().is_empty() {
                    break;
                }
                kept.truncate(start);
            }
        }
        kept
    }

    /// The text with something put in at a line start; a last line without an end gets one.
    pub(super) fn with_lines(&self, at: usize, lines: &str) -> String {
        let (before, after) = self.text.split_at(at);
        let end = if before.is_empty() || before.ends_with('\n') { "" } else { self.line_end() };
        format!("{before}{end}{lines}{after}")
    }
}
