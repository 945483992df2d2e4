//! Types and functions as a reader knows them.

use super::shape::{Shapes, dimensions};
use crate::dwarf::DieRef;
use crate::dwarf::die::{Table, is_aggregate};
use crate::dwarf::vars::{View, text};
use gimli::constants as dw;

/// Name with namespaces, classes and functions around it; None for what has no name.
pub(super) fn qualified(view: &View<'_, '_>, at: DieRef) -> Option<String> {
    let (at, node) = view.declared(at)?;
    let (mut scope, _) = view.scope(at)?;
    scope.push(text(node.name.bytes()));
    Some(scope.join("::"))
}

/// The last part of the name that a type without one gets here, where it can be called.
pub(super) const LAMBDA: &str = "<lambda>";
const UNNAMED: &str = "<unnamed>";

/// Of a type without a name: where it is, and what. Several types may have it.
pub(super) fn nameless(view: &View<'_, '_>, at: DieRef) -> Option<String> {
    let (table, index) = view.get(at)?;
    let (mut scope, _) = view.scope(at)?;
    scope.push(if is_closure(table, index) { LAMBDA } else { UNNAMED }.to_owned());
    Some(scope.join("::"))
}

/// Whether an aggregate without a name is called.
pub(super) fn is_closure(table: &Table<'_>, index: u32) -> bool {
    let call = |c| table.node(c).tag == dw::DW_TAG_subprogram && table.node(c).name.bytes() == b"operator()";
    table.children(index).any(call)
}

/// Whether a name is one of those.
pub(super) fn is_nameless(name: &str) -> bool {
    [LAMBDA, UNNAMED].iter().any(|last| name.ends_with(last))
}

/// Whether a name is a closure's.
pub(crate) fn is_lambda(name: &str) -> bool {
    name.ends_with(LAMBDA)
}

/// A text without the lines and columns of lambdas in names of clang's.
pub(super) fn without_places(text: &str) -> String {
    const MARK: &str = "(lambda at ";
    let mut parts = text.split(MARK);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (place, rest) = part.split_at(part.find(')').unwrap_or(part.len()));
        let file = place.rsplitn(3, ':').nth(2).unwrap_or(place);
        out.extend([MARK, file, rest]);
    }
    out
}

/// A type in C's manner, declarators simplified.
pub(super) fn render(shapes: &mut Shapes<'_, '_>, ty: Option<DieRef>) -> String {
    render_to(shapes, ty, 0)
}

fn render_to(shapes: &mut Shapes<'_, '_>, ty: Option<DieRef>, depth: u32) -> String {
    let Some(b) = shapes.bare(ty) else { return "void".into() };
    if depth > 12 {
        return "...".into();
    }
    let node = b.node();
    let word = match node.tag {
        dw::DW_TAG_structure_type => "struct ",
        dw::DW_TAG_class_type => "class ",
        dw::DW_TAG_union_type => "union ",
        dw::DW_TAG_enumeration_type => "enum ",
        _ => "",
    };
    let inner = |shapes: &mut Shapes<'_, '_>| render_to(shapes, node.ty, depth + 1);
    match node.tag {
        tag if is_aggregate(tag) || tag == dw::DW_TAG_enumeration_type => {
            let own = qualified(&shapes.view, b.at);
            match (own, b.alias.and_then(|a| qualified(&shapes.view, a))) {
                (Some(name), _) => format!("{word}{name}"),
                (None, Some(alias)) => alias,
                (None, None) => format!("{word}(unnamed)"),
            }
        }
        dw::DW_TAG_pointer_type => match inner(shapes) {
            t if t.ends_with('*') => format!("{t}*"),
            t => match t.split_once('(') {
                Some((result, params)) if !t.contains("(unnamed)") && !t.contains("(anonymous") => {
                    format!("{result}(*)({params}")
                }
                _ => format!("{t} *"),
            },
        },
        dw::DW_TAG_reference_type => format!("{} &", inner(shapes)),
        dw::DW_TAG_rvalue_reference_type => format!("{} &&", inner(shapes)),
        dw::DW_TAG_ptr_to_member_type => {
            let of = b.table.rare(node).containing.and_then(|of| qualified(&shapes.view, of)).unwrap_or_default();
            format!("{} {of}::*", inner(shapes))
        }
        dw::DW_TAG_array_type => {
            let dims: String = dimensions(&b).iter().map(|d| d.map_or("[]".into(), |n| format!("[{n}]"))).collect();
            format!("{}{dims}", inner(shapes))
        }
        dw::DW_TAG_subroutine_type => {
            let result = inner(shapes);
            format!("{result} ({})", parameters(shapes, b.table, b.index, depth + 1))
        }
        _ if node.name.is_empty() => format!("{}", node.tag),
        _ => text(node.name.bytes()),
    }
}

fn parameters(shapes: &mut Shapes<'_, '_>, table: &Table<'_>, index: u32, depth: u32) -> String {
    let mut out: Vec<String> = Vec::new();
    let children: Vec<u32> = table.children(index).collect();
    for c in children {
        match table.node(c).tag {
            dw::DW_TAG_formal_parameter => out.push(render_to(shapes, table.node(c).ty, depth)),
            dw::DW_TAG_unspecified_parameters => out.push("...".into()),
            _ => {}
        }
    }
    if out.is_empty() { "void".into() } else { out.join(", ") }
}

/// `result name(parameters)`.
pub(super) fn prototype(shapes: &mut Shapes<'_, '_>, at: DieRef) -> String {
    let Some((decl, node)) = shapes.view.declared(at) else { return String::new() };
    let Some((table, index)) = shapes.view.get(decl) else { return String::new() };
    let result = render(shapes, node.ty);
    let params = parameters(shapes, table, index, 0);
    format!("{result} {}({params})", qualified(&shapes.view, decl).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::without_places;

    #[test]
    fn places_of_lambdas_go() {
        let text = |line| format!("int f<(lambda at a:b/c.cc:{line}:7), int>(struct S<(lambda at d.cc:{line}:1)> *)");
        assert_eq!(without_places(&text(9)), without_places(&text(12)));
        assert_eq!(without_places(&text(9)), "int f<(lambda at a:b/c.cc), int>(struct S<(lambda at d.cc)> *)");
        assert_eq!(without_places("int f(int)"), "int f(int)");
    }
}
