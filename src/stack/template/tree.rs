//! A template as a tree of tags and expressions.

pub type Args<'a> = Vec<(&'a str, Expr<'a>)>;

/// An expression and where it stands, in byte offsets.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr<'a> {
    pub form: Form<'a>,
    pub start: usize,
    pub end: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Form<'a> {
    /// A number, a boolean, `none`, or a string with escapes in it.
    Literal,
    Text(&'a str),
    Name(&'a str),
    Field(Box<Expr<'a>>, &'a str),
    Item(Box<Expr<'a>>, Box<Expr<'a>>),
    /// What is cut and the bounds.
    Slice(Box<Expr<'a>>, Vec<Expr<'a>>),
    Call(&'a str, Args<'a>),
    Filter(Box<Expr<'a>>, FilterCall<'a>),
    Test(Box<Expr<'a>>, &'a str, Args<'a>),
    Not(Box<Expr<'a>>),
    And(Box<Expr<'a>>, Box<Expr<'a>>),
    Or(Box<Expr<'a>>, Box<Expr<'a>>),
    /// Operators and literals all of whose parts are values.
    Parts(Vec<Expr<'a>>),
    Ternary {
        condition: Box<Expr<'a>>,
        yes: Box<Expr<'a>>,
        no: Box<Expr<'a>>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct FilterCall<'a> {
    pub name: &'a str,
    pub args: Args<'a>,
    pub start: usize,
    pub end: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Node<'a> {
    Print(Expr<'a>),
    Set {
        name: &'a str,
        value: Expr<'a>,
        global: bool,
    },
    SetBlock {
        name: &'a str,
        filters: Vec<FilterCall<'a>>,
        body: Vec<Node<'a>>,
        global: bool,
    },
    /// The arms with a condition, then the one without.
    If {
        arms: Vec<(Expr<'a>, Vec<Node<'a>>)>,
        otherwise: Vec<Node<'a>>,
    },
    For {
        key: Option<&'a str>,
        value: &'a str,
        target: Expr<'a>,
        body: Vec<Node<'a>>,
        otherwise: Vec<Node<'a>>,
    },
    FilterSection {
        filters: Vec<FilterCall<'a>>,
        body: Vec<Node<'a>>,
    },
    Include {
        name: &'a str,
        start: usize,
        end: usize,
    },
    /// `break` or `continue`.
    Jump,
}
