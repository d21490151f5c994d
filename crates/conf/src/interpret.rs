//! From tree to scopes: every statement finds its row, its place is checked, its function is called.

use crate::args::Cx;
use crate::directive::{Body, Directive, Tables};
use crate::{Args, Error, Inputs, Result, Scope, Statement, Tree};

/// Reads a tree into `root` by the modules' tables.
///
/// The error is the one nginx would give: the first in the text, be it the grammar's or a directive's. Remarks made on
/// the way are in [`Scope::warnings`].
pub fn read(tree: &Tree, tables: &Tables, inputs: &dyn Inputs, root: Scope) -> Result<Scope> {
    let mut root = root;
    let reader = Reader { cx: Cx { tree, inputs }, tables };
    reader.statements(&tree.statements, &mut root)?;
    match &tree.error {
        Some(error) => Err(error.clone()),
        None => Ok(root),
    }
}

struct Reader<'a> {
    cx: Cx<'a>,
    tables: &'a Tables,
}

impl Reader<'_> {
    fn statements(&self, statements: &[Statement], scope: &mut Scope) -> Result<()> {
        statements.iter().try_for_each(|statement| self.statement(statement, scope))
    }

    fn statement(&self, statement: &Statement, scope: &mut Scope) -> Result<()> {
        let place = || self.cx.tree.position(statement.at);
        let opens = statement.body.is_some();
        let row = self.tables.row(&statement.name, statement.args.len(), opens, scope.kind);
        let row = row.map_err(|error| error.at(place()))?;
        let odd = statement.args.iter().find(|word| !row.any_bytes && word.text().is_none());
        if let Some(odd) = odd {
            let text = format!("argument \"{odd}\" of \"{}\" directive is not UTF-8", row.name);
            return Err(Error::emerg(text).at(place()));
        }
        match row.body {
            Body::None => self.set(row, statement, scope),
            Body::Opens(kind) => {
                let mut child = scope.child(kind);
                child.name = row.name;
                child.args = statement.args.clone();
                child.at = place();
                self.set(row, statement, &mut child)?;
                self.block(row, statement, &mut child)?;
                scope.children.push(child);
                Ok(())
            }
            Body::Free => {
                self.set(row, statement, scope)?;
                self.free(row, statement)
            }
        }
    }

    fn set(&self, row: &Directive, statement: &Statement, scope: &mut Scope) -> Result<()> {
        let args = Args::new(row.name, statement, &self.cx);
        (row.set)(scope, &args).map_err(|error| error.complete(row.name, || args.at()))
    }

    fn block(&self, row: &Directive, statement: &Statement, child: &mut Scope) -> Result<()> {
        self.statements(statement.statements(), child)?;
        self.unclosed(statement)?;
        let Some(closed) = row.closed else { return Ok(()) };
        let args = Args::new(row.name, statement, &self.cx);
        closed(child, &args).map_err(|error| error.complete(row.name, || args.end()))
    }

    /// A free block has no blocks in it. (Its function saw only what stands before the first.)
    fn free(&self, row: &Directive, statement: &Statement) -> Result<()> {
        if let Some(odd) = statement.statements().iter().find(|entry| entry.body.is_some()) {
            return Err(Error::emerg("unexpected \"{\"").at(self.cx.tree.position(odd.at)));
        }
        let texts = |entry: &&Statement| {
            row.any_bytes
                || (entry.name.text().is_some() && entry.args.iter().all(|word| word.text().is_some()))
        };
        if let Some(odd) = statement.statements().iter().find(|entry| !texts(entry)) {
            let text = format!("a parameter in \"{}\" block is not UTF-8", row.name);
            return Err(Error::emerg(text).at(self.cx.tree.position(odd.at)));
        }
        self.unclosed(statement)
    }

    /// If reading stopped in this block, all that came before the mistake has been looked at now.
    fn unclosed(&self, statement: &Statement) -> Result<()> {
        match (&statement.body, &self.cx.tree.error) {
            (Some(block), Some(error)) if !block.closed => Err(error.clone()),
            _ => Ok(()),
        }
    }
}
