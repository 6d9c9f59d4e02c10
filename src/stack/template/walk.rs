//! What a template refers to outside of itself: includes and mounted files.

use super::tree::{Expr, FilterCall, Form, Node};

#[derive(Default)]
pub struct Walk<'a> {
    pub includes: Vec<&'a str>,
    /// The file, and where the call stands.
    pub mounts: Vec<(&'a str, (usize, usize))>,
}

impl<'a> Walk<'a> {
    pub fn nodes(&mut self, nodes: &[Node<'a>]) {
        for node in nodes {
            match node {
                Node::Print(expr) | Node::Set { value: expr, .. } => self.expr(expr),
                Node::SetBlock { filters, body, .. } | Node::FilterSection { filters, body } => {
                    self.filters(filters);
                    self.nodes(body);
                }
                Node::If { arms, otherwise } => {
                    for (condition, body) in arms {
                        self.expr(condition);
                        self.nodes(body);
                    }
                    self.nodes(otherwise);
                }
                Node::For { target, body, otherwise, .. } => {
                    self.expr(target);
                    self.nodes(body);
                    self.nodes(otherwise);
                }
                Node::Include { name, .. } => self.includes.push(name),
                Node::Jump => {}
            }
        }
    }

    fn filters(&mut self, filters: &[FilterCall<'a>]) {
        for (_, value) in filters.iter().flat_map(|call| &call.args) {
            self.expr(value);
        }
    }

    fn expr(&mut self, expr: &Expr<'a>) {
        match &expr.form {
            Form::Literal | Form::Text(_) | Form::Name(_) => {}
            Form::Call(name, args) => {
                if let ("mount", [("file", Expr { form: Form::Text(file), .. })]) = (*name, args.as_slice()) {
                    self.mounts.push((file, (expr.start, expr.end)));
                }
                args.iter().for_each(|(_, value)| self.expr(value));
            }
            Form::Field(base, _) | Form::Not(base) => self.expr(base),
            Form::Item(left, right) | Form::And(left, right) | Form::Or(left, right) => {
                self.expr(left);
                self.expr(right);
            }
            Form::Slice(base, parts) => {
                self.expr(base);
                parts.iter().for_each(|part| self.expr(part));
            }
            Form::Filter(base, call) => {
                self.expr(base);
                self.filters(std::slice::from_ref(call));
            }
            Form::Test(base, _, args) => {
                self.expr(base);
                args.iter().for_each(|(_, value)| self.expr(value));
            }
            Form::Parts(parts) => parts.iter().for_each(|part| self.expr(part)),
            Form::Ternary { condition, yes, no } => {
                self.expr(condition);
                self.expr(yes);
                self.expr(no);
            }
        }
    }
}
