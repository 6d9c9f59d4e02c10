//! Reads Tera's tags and expressions into a tree, for [`super::check`].
//!
//! Precedence is Tera's own (`binary_binding_power` in its parser). What stacks have no need of
//! (inheritance, components, comprehensions, spreads, `?.`) is refused, so that nothing is unchecked.

use super::lexer::{Kind, NotUnderstood, Token};
use super::tree::{Args, Expr, FilterCall, Form, Node};

/// Deeper than Tera itself goes (40), so that only a template that Tera refuses is cut here.
const DEPTH: usize = 64;

pub fn parse<'a>(tokens: &'a [Token<'a>]) -> Result<Vec<Node<'a>>, NotUnderstood> {
    let mut parser = Parser { tokens, at: 0, depth: 0 };
    let nodes = parser.nodes(&[])?;
    match parser.peek() {
        None => Ok(nodes),
        Some(_) => Err(parser.refuse("this tag here")),
    }
}

struct Parser<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Kind<'a>> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    fn peek_second(&self) -> Option<&'a Kind<'a>> {
        self.tokens.get(self.at + 1).map(|token| &token.kind)
    }

    /// Start of the next token.
    fn start(&self) -> usize {
        self.tokens.get(self.at).map_or_else(|| self.end(), |token| token.start)
    }

    /// End of the last token taken.
    fn end(&self) -> usize {
        self.at.checked_sub(1).and_then(|last| self.tokens.get(last)).map_or(0, |token| token.end)
    }

    fn refuse(&self, what: &str) -> NotUnderstood {
        let (start, end) =
            self.tokens.get(self.at).map_or((self.end(), self.end()), |token| (token.start, token.end));
        NotUnderstood { start, end, what: what.to_owned() }
    }

    fn take(&mut self, kind: &Kind<'_>) -> bool {
        let found = self.peek() == Some(kind);
        self.at += usize::from(found);
        found
    }

    fn op(&mut self, op: &'static str) -> bool {
        self.take(&Kind::Op(op))
    }

    fn expect(&mut self, kind: &Kind<'_>, what: &str) -> Result<(), NotUnderstood> {
        if self.take(kind) { Ok(()) } else { Err(self.refuse(what)) }
    }

    fn ident(&mut self) -> Result<&'a str, NotUnderstood> {
        match self.peek() {
            Some(Kind::Ident(name)) => {
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.refuse("something else than a name")),
        }
    }

    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Kind::Ident(name)) if *name == word);
        self.at += usize::from(found);
        found
    }

    fn deeper<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, NotUnderstood>,
    ) -> Result<T, NotUnderstood> {
        if self.depth >= DEPTH {
            return Err(self.refuse("nesting this deep"));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Nodes up to a tag that begins with one of `ends`, whose word is left to be read.
    fn nodes(&mut self, ends: &[&str]) -> Result<Vec<Node<'a>>, NotUnderstood> {
        self.deeper(|parser| {
            let mut nodes = Vec::new();
            loop {
                match (parser.peek(), parser.peek_second()) {
                    (None, _) => return Ok(nodes),
                    (Some(Kind::PrintStart), _) => {
                        parser.at += 1;
                        nodes.push(Node::Print(parser.expression(0)?));
                        parser.expect(&Kind::PrintEnd, "this inside `{{ }}`")?;
                    }
                    (Some(Kind::TagStart), Some(Kind::Ident(word))) if ends.contains(word) => {
                        parser.at += 1;
                        return Ok(nodes);
                    }
                    (Some(Kind::TagStart), _) => {
                        parser.at += 1;
                        nodes.push(parser.tag()?);
                        parser.expect(&Kind::TagEnd, "this inside `{% %}`")?;
                    }
                    _ => return Err(parser.refuse("this outside of a tag")),
                }
            }
        })
    }

    fn tag(&mut self) -> Result<Node<'a>, NotUnderstood> {
        match self.peek() {
            Some(Kind::Ident(word @ ("set" | "set_global"))) => {
                self.at += 1;
                self.set(*word == "set_global")
            }
            Some(Kind::Ident("if")) => {
                self.at += 1;
                self.conditional()
            }
            Some(Kind::Ident("for")) => {
                self.at += 1;
                self.repeat()
            }
            Some(Kind::Ident("filter")) => {
                self.at += 1;
                let mut filters = vec![self.filter_call()?];
                while self.op("|") {
                    filters.push(self.filter_call()?);
                }
                self.expect(&Kind::TagEnd, "this in a filter tag")?;
                let body = self.nodes(&["endfilter"])?;
                self.end_word("endfilter")?;
                Ok(Node::FilterSection { filters, body })
            }
            Some(Kind::Ident("include")) => {
                self.at += 1;
                let (start, name) = (self.start(), self.peek());
                let Some(Kind::Text(Some(name))) = name else {
                    return Err(self.refuse("an include whose name is not a plain string"));
                };
                self.at += 1;
                Ok(Node::Include { name, start, end: self.end() })
            }
            Some(Kind::Ident("break" | "continue")) => {
                self.at += 1;
                Ok(Node::Jump)
            }
            Some(Kind::Ident(word)) => Err(self.refuse(&format!("the tag `{word}`"))),
            _ => Err(self.refuse("this tag")),
        }
    }

    fn end_word(&mut self, word: &str) -> Result<(), NotUnderstood> {
        if self.word(word) { Ok(()) } else { Err(self.refuse(&format!("something else than `{word}`"))) }
    }

    fn set(&mut self, global: bool) -> Result<Node<'a>, NotUnderstood> {
        let name = self.ident()?;
        if self.op("=") {
            return Ok(Node::Set { name, value: self.expression(0)?, global });
        }
        let mut filters = Vec::new();
        while self.op("|") {
            filters.push(self.filter_call()?);
        }
        self.expect(&Kind::TagEnd, "this in a set tag")?;
        let body = self.nodes(&["endset"])?;
        self.end_word("endset")?;
        Ok(Node::SetBlock { name, filters, body, global })
    }

    fn conditional(&mut self) -> Result<Node<'a>, NotUnderstood> {
        let mut arms = Vec::new();
        loop {
            let condition = self.expression(0)?;
            self.expect(&Kind::TagEnd, "this in a condition")?;
            arms.push((condition, self.nodes(&["elif", "else", "endif"])?));
            if self.word("elif") {
                continue;
            }
            let mut otherwise = Vec::new();
            if self.word("else") {
                self.expect(&Kind::TagEnd, "this after `else`")?;
                otherwise = self.nodes(&["endif"])?;
            }
            self.end_word("endif")?;
            return Ok(Node::If { arms, otherwise });
        }
    }

    fn repeat(&mut self) -> Result<Node<'a>, NotUnderstood> {
        let mut value = self.ident()?;
        let mut key = None;
        if self.op(",") {
            key = Some(value);
            value = self.ident()?;
        }
        self.end_word("in")?;
        let target = self.expression(0)?;
        self.expect(&Kind::TagEnd, "this in a for tag")?;
        let body = self.nodes(&["else", "endfor"])?;
        let mut otherwise = Vec::new();
        if self.word("else") {
            self.expect(&Kind::TagEnd, "this after `else`")?;
            otherwise = self.nodes(&["endfor"])?;
        }
        self.end_word("endfor")?;
        Ok(Node::For { key, value, target, body, otherwise })
    }

    fn args(&mut self) -> Result<Args<'a>, NotUnderstood> {
        let mut args = Vec::new();
        if !self.op("(") {
            return Ok(args);
        }
        while !self.op(")") {
            let name = self.ident()?;
            self.expect(&Kind::Op("="), "an argument without a name")?;
            args.push((name, self.expression(0)?));
            if !self.op(",") {
                self.expect(&Kind::Op(")"), "this between arguments")?;
                break;
            }
        }
        Ok(args)
    }

    fn filter_call(&mut self) -> Result<FilterCall<'a>, NotUnderstood> {
        let start = self.start();
        let name = self.ident()?;
        let end = self.end();
        Ok(FilterCall { name, args: self.args()?, start, end })
    }

    fn expression(&mut self, least: u8) -> Result<Expr<'a>, NotUnderstood> {
        self.deeper(|parser| {
            let start = parser.start();
            let form = parser.operand()?;
            let mut left = Expr { form, start, end: parser.end() };
            left = parser.accesses(left)?;
            while let Some(form) = parser.operator(&left, least)? {
                left = Expr { form, start, end: parser.end() };
            }
            Ok(left)
        })
    }

    fn operand(&mut self) -> Result<Form<'a>, NotUnderstood> {
        let Some(token) = self.tokens.get(self.at) else {
            return Err(self.refuse("the end of the template inside an expression"));
        };
        self.at += 1;
        match &token.kind {
            Kind::Number | Kind::Text(None) => Ok(Form::Literal),
            Kind::Text(Some(text)) => Ok(Form::Text(text)),
            Kind::Ident("true" | "True" | "false" | "False" | "none" | "None" | "null") => Ok(Form::Literal),
            Kind::Ident("not") => Ok(Form::Not(Box::new(self.expression(5)?))),
            Kind::Op("-") => Ok(Form::Parts(vec![self.expression(20)?])),
            Kind::Ident(name) if self.peek() == Some(&Kind::Op("(")) => Ok(Form::Call(name, self.args()?)),
            Kind::Ident(name) => Ok(Form::Name(name)),
            Kind::Op("(") => {
                let inner = self.expression(0)?;
                self.expect(&Kind::Op(")"), "this inside parentheses")?;
                Ok(inner.form)
            }
            Kind::Op("[") => self.list("]"),
            Kind::Op("{") => self.list("}"),
            _ => {
                self.at -= 1;
                Err(self.refuse("this in an expression"))
            }
        }
    }

    /// The parts of a list, or the values of a map, whose keys are literals.
    fn list(&mut self, close: &'static str) -> Result<Form<'a>, NotUnderstood> {
        let mut parts = Vec::new();
        while !self.op(close) {
            if close == "}" {
                self.at += 1;
                self.expect(&Kind::Op(":"), "this in a map")?;
            }
            parts.push(self.expression(0)?);
            if !self.op(",") {
                self.expect(&Kind::Op(close), "this in a list or map")?;
                break;
            }
        }
        Ok(Form::Parts(parts))
    }

    /// `.name` and `[..]` after an operand.
    fn accesses(&mut self, mut left: Expr<'a>) -> Result<Expr<'a>, NotUnderstood> {
        loop {
            let start = left.start;
            let form = match self.peek() {
                Some(Kind::Op("."))
                    if matches!(left.form, Form::Name(_) | Form::Field(..) | Form::Item(..)) =>
                {
                    self.at += 1;
                    Form::Field(Box::new(left), self.ident()?)
                }
                Some(Kind::Op("[")) => {
                    self.at += 1;
                    self.subscript(left)?
                }
                Some(Kind::Op(op @ ("?." | "?["))) => return Err(self.refuse(&format!("`{op}`"))),
                _ => return Ok(left),
            };
            left = Expr { form, start, end: self.end() };
        }
    }

    fn subscript(&mut self, left: Expr<'a>) -> Result<Form<'a>, NotUnderstood> {
        let mut parts = Vec::new();
        let mut colons = 0;
        loop {
            if self.op(":") {
                colons += 1;
            } else if self.op("]") {
                break;
            } else {
                parts.push(self.expression(0)?);
            }
        }
        let left = Box::new(left);
        match (colons, parts.pop()) {
            (0, Some(index)) if parts.is_empty() => Ok(Form::Item(left, Box::new(index))),
            (1 | 2, last) => {
                parts.extend(last);
                Ok(Form::Slice(left, parts))
            }
            _ => Err(self.refuse("this in brackets")),
        }
    }

    /// The form that the next operator makes of `left`, or `None` where none binds tightly enough.
    fn operator(&mut self, left: &Expr<'a>, least: u8) -> Result<Option<Form<'a>>, NotUnderstood> {
        let (binds, right) = match self.peek() {
            Some(Kind::Ident("if")) => (0, 0),
            Some(Kind::Ident("or")) => (1, 2),
            Some(Kind::Ident("and")) => (3, 4),
            Some(Kind::Ident("in" | "is" | "not")) => (5, 6),
            Some(Kind::Op("==" | "!=" | "<" | "<=" | ">" | ">=")) => (7, 8),
            Some(Kind::Op("+" | "-")) => (11, 12),
            Some(Kind::Op("*" | "/" | "%" | "~" | "//")) => (13, 14),
            Some(Kind::Op("**")) => (16, 15),
            Some(Kind::Op("|")) => (17, 18),
            Some(Kind::Op("[")) => (u8::MAX, 0),
            _ => return Ok(None),
        };
        if binds < least {
            return Ok(None);
        }
        let operator = self.peek();
        self.at += 1;
        let left = Box::new(left.clone());
        Ok(Some(match operator {
            Some(Kind::Ident("if")) => {
                let condition = Box::new(self.expression(0)?);
                self.end_word("else")?;
                Form::Ternary { condition, yes: left, no: Box::new(self.expression(0)?) }
            }
            Some(Kind::Ident("or")) => Form::Or(left, Box::new(self.expression(right)?)),
            Some(Kind::Ident("and")) => Form::And(left, Box::new(self.expression(right)?)),
            Some(Kind::Ident("is")) => {
                let negated = self.word("not");
                let (start, test) = (left.start, self.ident()?);
                let form = Form::Test(left, test, self.args()?);
                if negated { Form::Not(Box::new(Expr { form, start, end: self.end() })) } else { form }
            }
            Some(Kind::Ident("not")) => {
                self.end_word("in")?;
                Form::Parts(vec![*left, self.expression(right)?])
            }
            Some(Kind::Op("|")) => Form::Filter(left, self.filter_call()?),
            Some(Kind::Op("[")) => self.subscript(*left)?,
            _ => Form::Parts(vec![*left, self.expression(right)?]),
        }))
    }
}

#[cfg(test)]
#[path = "syntax_tests.rs"]
mod tests;
