//! Every name that a template uses is looked up before the template is rendered.
//!
//! Tera takes an undefined name in a condition as false and in a test or filter as a value, so that
//! `{% if client.tagz %}` drops a part of a file without a word. Here each expression of each branch,
//! also of those not taken, is walked with the values of this very client:
//! - an unknown name is an error, but as the operand of `default`, `is defined` or `is undefined`;
//! - a known name without a value for this client (an optional variable, say) may also be asked for
//!   in a condition, and used where that condition holds;
//! - what cannot be known before rendering (an index that is computed from a function) is refused.

use std::collections::{BTreeMap, BTreeSet};

use super::language;
use super::scope::{Abstract, Scope, fixed_path, items, merge, path, proofs, set_in};
use super::tree::{Args, Expr, FilterCall, Form, Node};
use super::value::Known;

/// One fault, in byte offsets of the template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    pub template: String,
    pub start: usize,
    pub end: usize,
    pub message: String,
    pub hint: Option<String>,
}

/// What is asked of an expression, and so what it may be.
#[derive(Clone, Copy)]
struct Use {
    /// A known name without a value will do.
    absent: bool,
    /// An unknown name will do.
    unknown: bool,
    /// Its value goes into the output.
    flows: bool,
}

impl Use {
    const VALUE: Use = Use { absent: false, unknown: false, flows: true };
    /// Whether it is true: a known name without a value is false.
    const TRUTH: Use = Use { absent: true, unknown: false, flows: false };
    /// Whether it is defined.
    const DEFINED: Use = Use { absent: true, unknown: true, flows: false };
    /// Its value, or another where it is not defined.
    const DEFAULTED: Use = Use { absent: true, unknown: true, flows: true };
    /// The left side of an `or` whose value goes on.
    const OR_ELSE: Use = Use { absent: true, unknown: false, flows: true };

    /// The same for a part of the expression: only a whole name may be unknown.
    const fn part(self) -> Use {
        Use { unknown: false, ..self }
    }
}

pub struct Checker<'v> {
    /// Parsed templates by name.
    templates: &'v BTreeMap<&'v str, Vec<Node<'v>>>,
    /// Whether the file may be read by anyone: then no secret's value may be used in it.
    public: bool,
    current: &'v str,
    /// The templates that include the current one, outermost first.
    outer: Vec<&'v str>,
    faults: Vec<Fault>,
}

impl<'v> Checker<'v> {
    /// All faults of the template `name`, those of what it includes among them.
    pub fn check(
        templates: &'v BTreeMap<&'v str, Vec<Node<'v>>>,
        name: &'v str,
        context: &'v BTreeMap<String, Known>,
        public: bool,
    ) -> Vec<Fault> {
        let mut checker = Checker { templates, public, current: name, outer: Vec::new(), faults: Vec::new() };
        let names = context.iter().map(|(name, value)| (name.clone(), Abstract::OneOf(vec![value])));
        let mut scope = Scope { names: names.collect(), proved: BTreeSet::new() };
        if let Some(nodes) = templates.get(name) {
            checker.nodes(nodes, &mut scope);
        }
        checker.faults.sort();
        checker.faults.dedup();
        checker.faults
    }

    fn fault(&mut self, at: (usize, usize), message: impl Into<String>, hint: Option<String>) {
        let (start, end) = at;
        self.faults.push(Fault {
            template: self.current.to_owned(),
            start,
            end,
            message: message.into(),
            hint,
        });
    }

    fn nodes(&mut self, nodes: &'v [Node<'v>], scope: &mut Scope<'v>) {
        for node in nodes {
            self.node(node, scope);
        }
    }

    fn node(&mut self, node: &'v Node<'v>, scope: &mut Scope<'v>) {
        match node {
            Node::Print(expr) => {
                let value = self.eval(expr, Use::VALUE, scope);
                let composite = |value: &&Known| matches!(value, Known::Map(_) | Known::List(_));
                if matches!(&value, Abstract::OneOf(values) if values.iter().any(composite)) {
                    let hint = Some("name one of its entries, or go through it with `{% for %}`".to_owned());
                    self.fault((expr.start, expr.end), "a table or list cannot be written as it is", hint);
                }
            }
            Node::Set { name, value, .. } => {
                let value = self.eval(value, Use::VALUE, scope);
                scope.bind(name, value);
            }
            Node::SetBlock { name, filters, body, .. } => {
                self.nodes(body, &mut scope.clone());
                self.filters(filters, scope);
                scope.bind(name, Abstract::Any);
            }
            Node::FilterSection { filters, body } => {
                self.nodes(body, scope);
                self.filters(filters, scope);
            }
            Node::If { arms, otherwise } => self.conditional(arms, otherwise, scope),
            Node::For { key, value, target, body, otherwise } => {
                let (keys, values) = match self.eval(target, Use::VALUE, scope) {
                    Abstract::OneOf(targets) => items(&targets),
                    Abstract::Faulty => (Abstract::Faulty, Abstract::Faulty),
                    _ => (Abstract::Any, Abstract::Any),
                };
                let set: Vec<_> = set_in(body);
                let known: Vec<_> =
                    set.into_iter().filter(|(name, _)| scope.names.contains_key(*name)).collect();
                let mut inner = scope.clone();
                // From the second round on the body sees what it has set in the round before.
                known.iter().for_each(|(name, _)| inner.bind(name, Abstract::Any));
                inner.bind("loop", Abstract::Loop);
                if let Some(key) = key {
                    inner.bind(key, keys);
                }
                inner.bind(value, values);
                self.nodes(body, &mut inner);
                // The body may never run: what it sets for good is the old value or the new one.
                for (name, _) in known.iter().filter(|(_, global)| *global) {
                    scope.bind(name, Abstract::Any);
                }
                self.nodes(otherwise, &mut scope.clone());
            }
            Node::Include { name, start, end } => self.include(name, (*start, *end), scope),
            Node::Jump => {}
        }
    }

    fn include(&mut self, name: &'v str, at: (usize, usize), scope: &Scope<'v>) {
        let Some(nodes) = self.templates.get(name) else {
            return self.fault(at, format!("no template `{name}` in the stack's folder"), None);
        };
        if name == self.current || self.outer.contains(&name) {
            return self.fault(at, format!("`{name}` includes itself"), None);
        }
        self.outer.push(std::mem::replace(&mut self.current, name));
        let mut inner = scope.clone();
        inner.names.remove("loop");
        self.nodes(nodes, &mut inner);
        self.current = self.outer.pop().unwrap_or(name);
    }

    fn conditional(
        &mut self,
        arms: &'v [(Expr<'v>, Vec<Node<'v>>)],
        otherwise: &'v [Node<'v>],
        scope: &mut Scope<'v>,
    ) {
        let mut before = scope.clone();
        let mut ends = Vec::new();
        for (condition, body) in arms {
            self.eval(condition, Use::TRUTH, &before);
            let (holds, fails) = proofs(condition);
            let mut inner = before.with(&holds);
            self.nodes(body, &mut inner);
            ends.push(inner);
            before = before.with(&fails);
        }
        self.nodes(otherwise, &mut before);
        ends.push(before);
        // Defined after the condition: what every way through it has defined.
        let mut ways = ends.into_iter();
        if let Some(first) = ways.next() {
            scope.names = ways.fold(first.names, |names, way| merge(names, &way.names));
        }
    }

    fn filters(&mut self, filters: &'v [FilterCall<'v>], scope: &Scope<'v>) {
        for call in filters {
            self.filter_name(call);
            self.args(&call.args, scope);
        }
    }

    fn args(&mut self, args: &'v Args<'v>, scope: &Scope<'v>) {
        for (_, value) in args {
            self.eval(value, Use::VALUE, scope);
        }
    }

    fn filter_name(&mut self, call: &FilterCall<'v>) {
        if !language::FILTERS.contains(&call.name) {
            let hint = language::suggest(call.name, language::FILTERS.iter().copied());
            self.fault((call.start, call.end), format!("unknown filter `{}`", call.name), hint);
        }
    }

    fn eval(&mut self, expr: &'v Expr<'v>, usage: Use, scope: &Scope<'v>) -> Abstract<'v> {
        let at = (expr.start, expr.end);
        match &expr.form {
            Form::Literal | Form::Text(_) => Abstract::Any,
            Form::Name(name) => match scope.names.get(*name) {
                Some(value) => self.used(expr, value.clone(), usage, scope),
                None if usage.unknown => Abstract::Any,
                None => {
                    let hint = language::suggest(name, scope.names.keys().map(String::as_str));
                    self.fault(at, format!("`{name}` is not defined"), hint);
                    Abstract::Faulty
                }
            },
            Form::Field(base, name) => {
                let base = self.eval(base, Use::VALUE, scope);
                self.member(expr, &base, &[name], usage, scope)
            }
            Form::Item(base, index) => {
                let index = match &index.form {
                    Form::Text(text) => Abstract::Texts(vec![text]),
                    _ => self.eval(index, Use::VALUE, scope),
                };
                let base = self.eval(base, Use::VALUE, scope);
                let names: Option<Vec<&str>> = match &index {
                    Abstract::Texts(texts) => Some(texts.clone()),
                    Abstract::OneOf(values) => values.iter().map(|value| value.as_text()).collect(),
                    Abstract::Faulty => return Abstract::Faulty,
                    _ => None,
                };
                match names {
                    Some(names) => self.member(expr, &base, &names, usage, scope),
                    None => {
                        let hint = "use a name, or the variable of a loop over names".to_owned();
                        self.fault(at, "this index cannot be checked before rendering", Some(hint));
                        Abstract::Faulty
                    }
                }
            }
            Form::Slice(base, bounds) => {
                self.eval(base, Use::VALUE, scope);
                for bound in bounds {
                    self.eval(bound, Use::VALUE, scope);
                }
                Abstract::Any
            }
            Form::Call(name, args) => {
                self.call(at, name, args, scope);
                Abstract::Any
            }
            Form::Filter(base, call) => {
                self.filter_name(call);
                self.args(&call.args, scope);
                let usage = if call.name == "default" { Use::DEFAULTED } else { Use::VALUE };
                self.eval(base, usage, scope);
                Abstract::Any
            }
            Form::Test(base, name, args) => {
                if !language::TESTS.contains(name) {
                    let hint = language::suggest(name, language::TESTS.iter().copied());
                    self.fault(at, format!("unknown test `{name}`"), hint);
                }
                self.args(args, scope);
                let asks = matches!(*name, "defined" | "undefined");
                self.eval(base, if asks { Use::DEFINED } else { Use::VALUE }, scope);
                Abstract::Any
            }
            Form::Not(inner) => {
                self.eval(inner, Use::TRUTH, scope);
                Abstract::Any
            }
            Form::And(left, right) => {
                // `a and b` is `a` where that is false: nothing but its falsehood goes on.
                self.eval(left, Use { flows: false, ..usage.part() }, scope);
                self.eval(right, usage.part(), &scope.with(&proofs(left).0));
                Abstract::Any
            }
            Form::Or(left, right) => {
                self.eval(left, if usage.flows { Use::OR_ELSE } else { Use::TRUTH }, scope);
                self.eval(right, usage.part(), &scope.with(&proofs(left).1));
                Abstract::Any
            }
            Form::Parts(parts) => {
                for part in parts {
                    self.eval(part, Use::VALUE, scope);
                }
                Abstract::Any
            }
            Form::Ternary { condition, yes, no } => {
                self.eval(condition, Use::TRUTH, scope);
                let (holds, fails) = proofs(condition);
                self.eval(yes, usage.part(), &scope.with(&holds));
                self.eval(no, usage.part(), &scope.with(&fails));
                Abstract::Any
            }
        }
    }

    fn call(&mut self, at: (usize, usize), name: &str, args: &'v Args<'v>, scope: &Scope<'v>) {
        match name {
            "range" => self.args(args, scope),
            "mount" | "throw" => {
                let wanted = if name == "mount" { "file" } else { "message" };
                if !matches!(args.as_slice(), [(name, Expr { form: Form::Text(_), .. })] if *name == wanted) {
                    let message = format!("`{name}` takes one plain string: `{name}({wanted}=\"...\")`");
                    self.fault(at, message, None);
                }
            }
            _ => {
                let hint = language::suggest(name, language::FUNCTIONS.iter().copied());
                self.fault(at, format!("unknown function `{name}`"), hint);
            }
        }
    }

    /// The members of `base` by these names.
    fn member(
        &mut self,
        expr: &'v Expr<'v>,
        base: &Abstract<'v>,
        names: &[&str],
        usage: Use,
        scope: &Scope<'v>,
    ) -> Abstract<'v> {
        let at = (expr.start, expr.end);
        let shown = path(expr);
        let bases = match base {
            Abstract::OneOf(bases) => bases,
            Abstract::Loop => return Abstract::Any,
            Abstract::Faulty => return Abstract::Faulty,
            Abstract::Any | Abstract::Texts(_) => {
                let hint = "only what the context holds has fields that can be checked".to_owned();
                self.fault(at, format!("`{shown}` cannot be checked before rendering"), Some(hint));
                return Abstract::Faulty;
            }
        };
        let mut found = Vec::new();
        for base in bases {
            // Already a fault of its own, or asked for behind a condition that does not hold.
            if matches!(base, Known::Absent) {
                return Abstract::Any;
            }
            for name in names {
                match base.member(name) {
                    Some(value) => found.push(value),
                    None if usage.unknown => return Abstract::Any,
                    None => {
                        let (message, hint) = language::no_member(&shown, name, base);
                        self.fault(at, message, hint);
                        return Abstract::Faulty;
                    }
                }
            }
        }
        self.used(expr, Abstract::OneOf(found), usage, scope)
    }

    /// Whether the value may be used so.
    fn used(
        &mut self,
        expr: &'v Expr<'v>,
        value: Abstract<'v>,
        usage: Use,
        scope: &Scope<'v>,
    ) -> Abstract<'v> {
        let Abstract::OneOf(values) = &value else { return value };
        let at = (expr.start, expr.end);
        let shown = path(expr);
        if self.public && usage.flows && values.iter().any(|value| matches!(value, Known::Secret(_))) {
            let hint = "keep it in the environment file and name it there, such as `${NAME}` in the Compose file; \
                        or mark the file `secret = true`";
            let message = format!("`{shown}` is a secret, and this file is not");
            self.fault(at, message, Some(hint.to_owned()));
        }
        if !usage.absent && values.iter().any(|value| matches!(value, Known::Absent)) {
            if fixed_path(expr).is_none_or(|path| !scope.proved.contains(&path)) {
                let hint = format!(
                    "ask first with `{{% if {shown} %}}`, or write `{shown} | default(value=\"...\")`"
                );
                self.fault(at, format!("`{shown}` has no value for this client"), Some(hint));
            }
            return Abstract::Any;
        }
        value
    }
}
