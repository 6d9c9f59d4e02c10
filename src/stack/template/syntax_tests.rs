use super::super::lexer::tokens;
use super::*;

/// The expression with every grouping written out.
fn shown(expr: &Expr<'_>) -> String {
    let args = |args: &Args<'_>| {
        args.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect::<Vec<_>>().join(",")
    };
    match &expr.form {
        Form::Literal => "#".to_owned(),
        Form::Text(text) => format!("'{text}'"),
        Form::Name(name) => (*name).to_owned(),
        Form::Field(base, name) => format!("{}.{name}", shown(base)),
        Form::Item(base, index) => format!("{}[{}]", shown(base), shown(index)),
        Form::Slice(base, parts) => format!("{}[:{}]", shown(base), parts.len()),
        Form::Call(name, list) => format!("{name}({})", args(list)),
        Form::Filter(base, call) => format!("({}|{}({}))", shown(base), call.name, args(&call.args)),
        Form::Test(base, name, list) => format!("({} is {name}({}))", shown(base), args(list)),
        Form::Not(inner) => format!("!{}", shown(inner)),
        Form::And(a, b) => format!("({}&{})", shown(a), shown(b)),
        Form::Or(a, b) => format!("({}+{})", shown(a), shown(b)),
        Form::Parts(parts) => format!("<{}>", parts.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Form::Ternary { condition, yes, no } => {
            format!("({}?{}:{})", shown(condition), shown(yes), shown(no))
        }
    }
}

fn expression(source: &str) -> String {
    let source = format!("{{{{ {source} }}}}");
    let tokens = tokens(&source).unwrap();
    match parse(&tokens).unwrap().as_slice() {
        [Node::Print(expr)] => shown(expr),
        other => panic!("{other:?}"),
    }
}

#[test]
fn precedence_is_teras() {
    assert_eq!(expression("a or b and not c is defined"), "(a+(b&!(c is defined())))");
    assert_eq!(expression("a.b ~ c | upper"), "<a.b (c|upper())>");
    assert_eq!(expression("a is not defined or b"), "(!(a is defined())+b)");
    assert_eq!(expression("a == b and c not in d"), "(<a b>&<c d>)");
    assert_eq!(expression("a if b else c | f(x=d.e)"), "(b?a:(c|f(x=d.e)))");
    assert_eq!(expression("x['a'].b[1:2] | default(value=[1, y])"), "(x['a'].b[:2]|default(value=<# y>))");
    assert_eq!(expression("f(a=1)[0]"), "f(a=#)[#]");
    assert_eq!(expression("-a | abs"), "(<a>|abs())");
    assert_eq!(expression("{'k': v}"), "<v>");
}

#[test]
fn what_stacks_do_not_need_is_refused() {
    for source in [
        "{% extends 'a' %}",
        "{% block a %}{% endblock %}",
        "{% component A() %}{% endcomponent %}",
        "{{ <A /> }}",
        "{{ a?.b }}",
        "{{ [x for x in y] }}",
        "{{ [...y] }}",
    ] {
        let tokens = tokens(source).unwrap();
        assert!(parse(&tokens).is_err(), "{source}");
    }
}

#[test]
fn tags_nest() {
    let source = "{% for k, v in a %}{% if v %}{{ k }}{% elif b %}{% else %}x{% endif %}{% else %}y{% endfor %}\
                  {% set c %}d{% endset %}{% set e = 1 %}{% filter upper %}f{% endfilter %}{% include 'g' %}";
    assert_eq!(parse(&tokens(source).unwrap()).unwrap().len(), 5);
}
