//! Text with variables.
use crate::{Error, Result};
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part { Text(Vec<u8>), Variable(Vec<u8>), Capture(u8) }
pub fn template(text: &[u8]) -> Result<Vec<Part>> {
    let mut parts = Vec::new(); let mut lit = Vec::new(); let mut i = 0;
    while i < text.len() {
        if text[i] != b'$' { lit.push(text[i]); i += 1; continue }
        i += 1;
        if i >= text.len() { return Err(Error::emerg("invalid variable name")) }
        if (b'1'..=b'9').contains(&text[i]) { if !lit.is_empty() { parts.push(Part::Text(std::mem::take(&mut lit))) } parts.push(Part::Capture(text[i]-b'0')); i += 1; continue }
        let brace = text[i] == b'{'; if brace { i += 1 }
        let start = i; while i < text.len() && (text[i].is_ascii_alphanumeric() || text[i] == b'_') { i += 1 }
        let name = text[start..i].to_vec();
        if brace { if text.get(i) != Some(&b'}') { return Err(Error::emerg("the closing bracket in variable is missing")) } i += 1 }
        if name.is_empty() { return Err(Error::emerg("invalid variable name")) }
        if !lit.is_empty() { parts.push(Part::Text(std::mem::take(&mut lit))) }
        parts.push(Part::Variable(name));
    }
    if !lit.is_empty() { parts.push(Part::Text(lit)) }
    Ok(parts)
}
