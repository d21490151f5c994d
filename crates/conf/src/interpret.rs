//! From statements to scopes: every statement finds its row, its place is checked, its function is called.

use crate::args::Cx;
use crate::directive::{Body, Directive, Tables};
use crate::reader::{Reader, Sink};
use crate::tree::{Block, Mark, Source, Statement, Tree};
use crate::{Args, Error, Inputs, Result, Scope, Within, Word};

/// Reads a configuration into `root` by the modules' tables, statement by statement.
///
/// The error is the one nginx would give: the first in the text, be it the grammar's or a directive's; what follows it
/// is not even looked at. Remarks made on the way are in [`Scope::warnings`]. The tree has the files that were read,
/// for [`Tree::dump`], but no statements.
pub fn load(inputs: &dyn Inputs, source: &Source<'_>, tables: &Tables, root: Scope) -> (Tree, Result<Scope>) {
    let mut reader = Reader::new(inputs, Tree::empty(source), Interpreter::new(tables, inputs, root));
    let done = reader.read(source);
    let (tree, interpreter, _) = reader.finish();
    let scope = interpreter.finish(&tree, done);
    (tree, scope)
}

/// As [`load`], from a tree.
pub fn read(tree: &Tree, tables: &Tables, inputs: &dyn Inputs, root: Scope) -> Result<Scope> {
    let mut interpreter = Interpreter::new(tables, inputs, root);
    let done = interpreter.replay(tree, &tree.statements);
    let done = done.and_then(|()| tree.error.clone().map_or(Ok(()), Err));
    interpreter.finish(tree, done)
}

struct Interpreter<'a> {
    tables: &'a Tables,
    inputs: &'a dyn Inputs,
    root: Scope,
    first: Firsts,
    /// The blocks one is in, innermost last.
    open: Vec<Frame>,
    /// The free block one is in; then that is the innermost.
    free: Option<(&'static Directive, Statement)>,
}

struct Frame {
    row: &'static Directive,
    scope: Scope,
    at: Mark,
    first: Firsts,
}

/// The first statement of each directive in a block.
type Firsts = Vec<(&'static Directive, Statement)>;

impl<'a> Interpreter<'a> {
    fn new(tables: &'a Tables, inputs: &'a dyn Inputs, root: Scope) -> Interpreter<'a> {
        Interpreter { tables, inputs, root, first: Vec::new(), open: Vec::new(), free: None }
    }

    fn kind(&self) -> Within {
        self.open.last().map_or(self.root.kind, |frame| frame.scope.kind)
    }

    fn replay(&mut self, tree: &Tree, statements: &[Statement]) -> Result<()> {
        for statement in statements {
            let Some(block) = &statement.body else {
                self.statement(tree, statement.clone())?;
                continue;
            };
            let Statement { name, args, at, .. } = statement;
            self.open(tree, Statement { name: name.clone(), args: args.clone(), body: None, at: *at })?;
            self.replay(tree, &block.statements)?;
            match &tree.error {
                Some(error) if !block.closed => return Err(error.clone()),
                _ => self.close(tree, block.end)?,
            }
        }
        Ok(())
    }

    /// The result, once all is read or reading stopped.
    fn finish(mut self, tree: &Tree, done: Result<()>) -> Result<Scope> {
        if let (Err(_), Some((row, head))) = (&done, self.free.take()) {
            // What the free block had before the mistake was written first, so its own mistakes come first.
            self.set(tree, row, &head)?;
        }
        done.map(|()| self.root)
    }

    fn row(&self, tree: &Tree, statement: &Statement, opens: bool) -> Result<&'static Directive> {
        let row = self.tables.row(&statement.name, statement.args.len(), opens, self.kind());
        let row = row.map_err(|error| error.at(tree.position(statement.at)))?;
        match statement.args.iter().find(|word| !row.any_bytes && word.text().is_none()) {
            None => Ok(row),
            Some(odd) => {
                let text = format!("argument \"{odd}\" of \"{}\" directive is not UTF-8", row.name);
                Err(Error::emerg(text).at(tree.position(statement.at)))
            }
        }
    }

    fn here(&mut self) -> &mut Scope {
        self.open.last_mut().map_or(&mut self.root, |frame| &mut frame.scope)
    }

    /// Calls the row's function on the innermost block.
    fn set(&mut self, tree: &Tree, row: &Directive, statement: &Statement) -> Result<()> {
        let cx = Cx { tree, inputs: self.inputs };
        let args = Args::new(row.name, statement, &cx);
        (row.set)(self.here(), &args).map_err(|error| error.complete(row.name, || args.at()))
    }

    fn first(&mut self) -> &mut Firsts {
        self.open.last_mut().map_or(&mut self.first, |frame| &mut frame.first)
    }

    /// Whether a statement with a mistake in its value should not be there at all: nginx asks this before it reads the
    /// value. It should not if the directive's first statement in this block is refused, too, the second time.
    #[cold]
    fn duplicate(&mut self, tree: &Tree, row: &Directive, statement: &Statement) -> Option<Error> {
        let known = self.first().iter().find(|(known, _)| std::ptr::eq(*known, row));
        let mut again = known.map(|(_, first)| first.clone())?;
        again.at = statement.at;
        let warnings = self.root.warnings();
        let said = warnings.take();
        let refused = self.set(tree, row, &again).err().filter(Error::is_duplicate);
        warnings.take();
        said.into_iter().for_each(|warning| warnings.push(warning));
        refused
    }

    fn begin(&mut self, tree: &Tree, row: &'static Directive, kind: Within, head: Statement) -> Result<()> {
        let mut scope = self.here().child(kind);
        scope.name = row.name;
        scope.args = head.args.clone();
        scope.at = tree.position(head.at);
        self.open.push(Frame { row, scope, at: head.at, first: Vec::new() });
        self.set(tree, row, &head)
    }

    fn end(&mut self, tree: &Tree, end: Mark) -> Result<()> {
        let Some(Frame { row, mut scope, at, .. }) = self.open.pop() else { return Ok(()) };
        if let Some(closed) = row.closed {
            let body = Some(Box::new(Block { statements: Vec::new(), closed: true, end }));
            let name = Word::new(row.name.as_bytes(), false);
            let statement = Statement { name, args: scope.args.clone(), body, at };
            let cx = Cx { tree, inputs: self.inputs };
            let args = Args::new(row.name, &statement, &cx);
            closed(&mut scope, &args).map_err(|error| error.complete(row.name, || args.end()))?;
        }
        self.here().children.push(scope);
        Ok(())
    }

    /// Keeps a statement of the free block one is in.
    fn keep(&mut self, tree: &Tree, entry: Statement) -> Result<()> {
        let Some((row, head)) = &mut self.free else { return Ok(()) };
        let texts = entry.name.text().is_some() && entry.args.iter().all(|word| word.text().is_some());
        if !texts && !row.any_bytes {
            let text = format!("a parameter in \"{}\" block is not UTF-8", row.name);
            return Err(Error::emerg(text).at(tree.position(entry.at)));
        }
        if let Some(block) = &mut head.body {
            block.statements.push(entry);
        }
        Ok(())
    }
}

impl Sink for Interpreter<'_> {
    fn statement(&mut self, tree: &Tree, statement: Statement) -> Result<()> {
        if self.free.is_some() {
            return self.keep(tree, statement);
        }
        let row = self.row(tree, &statement, false)?;
        if let Err(error) = self.set(tree, row, &statement) {
            return Err(self.duplicate(tree, row, &statement).unwrap_or(error));
        }
        let first = self.first();
        if !first.iter().any(|(known, _)| std::ptr::eq(*known, row)) {
            first.push((row, statement));
        }
        Ok(())
    }

    fn open(&mut self, tree: &Tree, mut head: Statement) -> Result<()> {
        if self.free.is_some() {
            return Err(Error::emerg("unexpected \"{\"").at(tree.position(head.at)));
        }
        let row = self.row(tree, &head, true)?;
        if let Body::Opens(kind) = row.body {
            return self.begin(tree, row, kind, head);
        }
        head.body = Some(Box::new(Block { statements: Vec::new(), closed: false, end: head.at }));
        self.free = Some((row, head));
        Ok(())
    }

    fn close(&mut self, tree: &Tree, end: Mark) -> Result<()> {
        let Some((row, mut head)) = self.free.take() else { return self.end(tree, end) };
        if let Some(block) = &mut head.body {
            (block.closed, block.end) = (true, end);
        }
        self.set(tree, row, &head)
    }
}
