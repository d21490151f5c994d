//! The values of a `geo` block, each kept once: a million networks have some hundred values.

use std::collections::HashMap;
use std::sync::Arc;

/// Which value.
pub type Number = u32;

#[derive(Default)]
pub struct Values {
    numbers: HashMap<Arc<[u8]>, Number>,
    texts: Vec<Arc<[u8]>>,
}

impl Values {
    pub fn number(&mut self, text: &[u8]) -> Number {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let (number, text) = (self.texts.len() as Number, Arc::<[u8]>::from(text));
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        number
    }
    pub fn bytes(&self, number: Number) -> &[u8] {
        self.texts.get(number as usize).map_or(&[], |text| text)
    }
    pub fn text(&self, number: Number) -> String {
        String::from_utf8_lossy(self.bytes(number)).into_owned()
    }
}
