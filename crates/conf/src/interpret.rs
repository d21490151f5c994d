//! Tree to scopes.
use std::path::Path;
use crate::*;
pub fn read(tree: &Tree, tables: &Tables, inputs: &dyn Inputs, prefix: &Path, folder: &Path, mut root: Scope) -> Result<Scope> {
    walk(&tree.statements, &mut root, tables, inputs, prefix, folder)?;
    match &tree.error { Some(e) => Err(e.clone()), None => Ok(root) }
}
fn walk(all: &[Statement], scope: &mut Scope, tables: &Tables, inputs: &dyn Inputs, prefix: &Path, folder: &Path) -> Result<()> {
    for s in all {
        let name = s.name.to_string();
        let e = |m: String| Error::emerg(m).at(s.at.clone());
        let Some(rows) = tables.0.get(s.name.bytes()) else { return Err(e(format!("unknown directive \"{name}\""))) };
        let Some(row) = rows.iter().find(|r| r.within.allows(scope.kind)) else { return Err(e(format!("\"{name}\" directive is not allowed here"))) };
        if s.body.is_some() && matches!(row.body, Body::None) { return Err(e(format!("directive \"{name}\" is not terminated by \";\""))) }
        if s.body.is_none() && !matches!(row.body, Body::None) { return Err(e(format!("directive \"{name}\" has no opening \"{{\""))) }
        if !row.arity.fits(s.args.len()) { return Err(e(format!("invalid number of arguments in \"{name}\" directive"))) }
        let args = Args { directive: row.name, words: &s.args, statement: s, inputs, prefix, folder };
        match row.body {
            Body::Opens(kind) => {
                let mut child = scope.child(kind, s.at.clone());
                (row.set)(&mut child, &args).map_err(|x| x.complete(&name, || s.at.clone()))?;
                walk(s.body.as_deref().unwrap_or(&[]), &mut child, tables, inputs, prefix, folder)?;
                scope.children.push(child);
            }
            _ => (row.set)(scope, &args).map_err(|x| x.complete(&name, || s.at.clone()))?,
        }
    }
    Ok(())
}
