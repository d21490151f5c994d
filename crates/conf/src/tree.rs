//! Statements.
use std::path::{Path, PathBuf}; use std::sync::Arc;
use crate::{Error, Inputs, Position, Word, lexer::{Lexer, Stop}};
pub struct Statement { pub name: Word, pub args: Vec<Word>, pub body: Option<Vec<Statement>>, pub at: Position, pub closed: bool }
#[derive(Default)]
pub struct Tree { pub files: Vec<(PathBuf, Arc<[u8]>)>, pub statements: Vec<Statement>, pub error: Option<Error> }
impl Tree {
    pub fn read(inputs: &dyn Inputs, path: &Path, extra: Option<&str>) -> Tree {
        let mut tree = Tree::default();
        let mut statements = Vec::new();
        let r = match extra { Some(text) => tree.text(inputs, path, None, text.as_bytes().into(), true, &mut statements), None => Ok(()) };
        let r = r.and_then(|()| tree.file(inputs, path, path, &mut statements, None));
        tree.statements = statements; tree.error = r.err(); tree
    }
    pub fn from_text(name: &str, text: &str, _extra: Option<&str>) -> Tree {
        let mut tree = Tree::default(); let mut statements = Vec::new();
        let r = tree.text(&crate::SystemInputs, Path::new(name), Some(Path::new(name).into()), text.as_bytes().into(), false, &mut statements);
        tree.statements = statements; tree.error = r.err(); tree
    }
    fn file(&mut self, inputs: &dyn Inputs, root: &Path, path: &Path, out: &mut Vec<Statement>, from: Option<Position>) -> Result<(), Error> {
        let text = inputs.read(path).map_err(|e| { let e = Error::emerg(format!("open() \"{}\" failed ({})", path.display(), crate::os_error(&e))); match from { Some(p) => e.at(p), None => e } })?;
        self.files.push((path.into(), text.clone()));
        self.text(inputs, root, Some(path.into()), text, false, out)
    }
    fn text(&mut self, inputs: &dyn Inputs, root: &Path, file: Option<Arc<Path>>, text: Arc<[u8]>, option: bool, out: &mut Vec<Statement>) -> Result<(), Error> {
        let mut lexer = Lexer::new(text, option);
        self.block(inputs, root, &file, &mut lexer, out, 0)
    }
    fn block(&mut self, inputs: &dyn Inputs, root: &Path, file: &Option<Arc<Path>>, lexer: &mut Lexer, out: &mut Vec<Statement>, depth: usize) -> Result<(), Error> {
        let mut words = Vec::new();
        loop {
            let stop = lexer.next(&mut words).map_err(|f| Error::emerg(f.message).at(Position { file: file.clone(), line: f.line }))?;
            let at = Position { file: file.clone(), line: lexer.line };
            match stop {
                Stop::End if depth == 0 => return Ok(()),
                Stop::End => return Err(Error::emerg("unexpected end of file, expecting \"}\"").at(at)),
                Stop::Close if depth > 0 => return Ok(()),
                Stop::Close => return Err(Error::emerg("unexpected \"}\"").at(at)),
                Stop::Semicolon => {
                    let mut all = std::mem::take(&mut words).into_iter(); let name = all.next().expect("one word"); let args: Vec<_> = all.collect();
                    if name == *"include" && args.len() == 1 {
                        let base = root.parent().unwrap_or(Path::new("/")); let p = base.join(args[0].to_string());
                        let text = p.to_string_lossy().into_owned();
                        if text.contains(['*','?','[']) { for f in inputs.glob(&text).unwrap_or_default() { self.file(inputs, root, &f, out, Some(at.clone()))?; } } else { self.file(inputs, root, &p, out, Some(at))?; }
                        continue;
                    }
                    out.push(Statement { name, args, body: None, at, closed: true });
                }
                Stop::Open => {
                    let mut all = std::mem::take(&mut words).into_iter(); let name = all.next().expect("one word"); let args: Vec<_> = all.collect();
                    let mut body = Vec::new();
                    let r = self.block(inputs, root, file, lexer, &mut body, depth + 1);
                    out.push(Statement { name, args, body: Some(body), at, closed: r.is_ok() });
                    r?;
                }
            }
        }
    }
}
