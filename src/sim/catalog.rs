//! The installed models and their capabilities.
//!
//! Owns the facts that `/api/tags`, `/api/show` and the capability checks share. The name alone
//! determines the capabilities, since there is no model file to read: a model with `embed` in its
//! name embeds and does nothing else, known reasoning families think, known older families have no
//! tools. Refuses names that Ollama would refuse: it leaves them out.

use sha2::{Digest, Sha256};

use super::name::ModelKey;

/// Name prefixes of families that reason before they answer.
const THINKING: [&str; 4] = ["deepseek-r1", "gpt-oss", "magistral", "qwen3"];
/// Name prefixes of families without tool calling.
const NO_TOOLS: [&str; 4] = ["codellama", "gemma", "llama2", "phi"];
/// Name prefixes of families of which Ollama runs one call at a time, whatever its settings are.
const SERIAL: [&str; 7] =
    ["mllama", "llama3.2-vision", "qwen3vl", "qwen35", "qwen3next", "lfm2", "nemotron_h"];
/// Name prefixes of families that fill in the middle.
const INSERT: [&str; 3] = ["codellama", "codestral", "starcoder"];

/// One installed model.
#[derive(Clone, Debug)]
pub struct Model {
    /// Its name.
    pub key: ModelKey,
    /// The name that it was installed by: those of one model share what is loaded, and its digest.
    pub blob: ModelKey,
    /// The family name, such as `llama3.1`.
    pub family: String,
    /// Its size in bytes, on disk and in memory: unless set, four and a half bits per parameter.
    pub size: u64,
    /// Its parameters in billions: from the tag (`70b`), else 8, or 0.1 for an embedding model.
    pub billions: f64,
    /// Whether it is an embedding model, which neither chats nor generates.
    pub embeds: bool,
    /// Whether it thinks before it answers.
    pub thinks: bool,
    /// Whether it calls tools.
    pub tools: bool,
    /// Whether it fills in the middle.
    pub inserts: bool,
    /// Whether it runs one call at a time, however many slots other models have.
    pub is_serial: bool,
    /// The length of its embedding vectors.
    pub embedding_length: usize,
}

/// Every installed model, in the order configured, without duplicates.
#[derive(Clone, Debug)]
pub struct Catalog {
    models: Vec<Model>,
}

impl Catalog {
    /// Installs the named models; invalid and repeated names are left out.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut models: Vec<Model> = Vec::new();
        for key in names.into_iter().filter_map(ModelKey::parse) {
            if models.iter().all(|model| model.key != key) {
                models.push(Model::new(key));
            }
        }
        Self { models }
    }

    /// Sets the sizes of models in bytes, and installs those that are not; leaves out invalid
    /// names.
    pub fn set_sizes(&mut self, sizes: &[(String, u64)]) {
        for (name, size) in sizes {
            let Some(key) = ModelKey::parse(name) else { continue };
            match self.models.iter_mut().find(|model| model.key == key) {
                Some(model) => model.size = *size,
                None => self.models.push(Model { size: *size, ..Model::new(key) }),
            }
        }
    }

    /// Gives models other names, as `ollama cp` does; leaves out invalid names and missing models.
    pub fn copy(&mut self, aliases: &[(String, String)]) {
        for (alias, name) in aliases {
            if let (Some(key), Some(model)) = (ModelKey::parse(alias), self.find(name)) {
                let copy = Model { key, ..model.clone() };
                self.models.retain(|model| model.key != copy.key);
                self.models.push(copy);
            }
        }
    }

    /// Finds a model by any spelling of its name.
    pub fn find(&self, name: &str) -> Option<&Model> {
        let key = ModelKey::parse(name)?;
        self.models.iter().find(|model| model.key == key)
    }

    /// Every model, in the order installed.
    pub fn all(&self) -> &[Model] {
        &self.models
    }
}

impl Model {
    fn new(key: ModelKey) -> Self {
        let family = key.stem().to_owned();
        let embeds = family.contains("embed");
        let of = |families: &[&str]| families.iter().any(|prefix| family.starts_with(prefix));
        let tag = key.short().rsplit(':').next().unwrap_or_default();
        let tagged = tag.strip_suffix('b').and_then(|number| number.parse::<f64>().ok());
        let plausible = tagged.filter(|billions| (0.01..=10_000.0).contains(billions));
        let billions = plausible.unwrap_or(if embeds { 0.1 } else { 8.0 });
        Self {
            size: (billions * 562_500_000.0) as u64,
            billions,
            embeds,
            thinks: !embeds && of(&THINKING),
            tools: !embeds && !of(&NO_TOOLS),
            inserts: !embeds && of(&INSERT),
            is_serial: embeds || of(&SERIAL),
            embedding_length: if embeds { 768 } else { 4096 },
            family,
            blob: key.clone(),
            key,
        }
    }

    /// Its capabilities, as `/api/show` and `/api/tags` name them.
    pub fn capabilities(&self) -> Vec<&'static str> {
        let able = [
            (!self.embeds, "completion"),
            (self.tools, "tools"),
            (self.inserts, "insert"),
            (self.thinks, "thinking"),
            (self.embeds, "embedding"),
        ];
        able.into_iter().filter_map(|(can, name)| can.then_some(name)).collect()
    }

    /// The longest prompt it was trained for, in tokens.
    pub fn context_length(&self) -> u32 {
        if self.embeds { 2048 } else { 131_072 }
    }

    /// A hexadecimal SHA-256 in place of the digest of the model's manifest.
    pub fn digest(&self) -> String {
        Sha256::digest(self.blob.short()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_follow_the_name() {
        let catalog = Catalog::new(["llama3.1:70b", "codellama", "nomic-embed-text", "qwen3"]);
        let of = |name| catalog.find(name).expect(name).capabilities();
        assert_eq!(of("llama3.1:70b"), ["completion", "tools"]);
        assert_eq!(of("codellama"), ["completion", "insert"]);
        assert_eq!(of("nomic-embed-text"), ["embedding"]);
        assert_eq!(of("qwen3"), ["completion", "tools", "thinking"]);
        assert!(catalog.find("llama3.1").is_none());
    }

    #[test]
    fn the_tag_sets_the_size_unless_it_is_absurd() {
        let catalog = Catalog::new(["a:70b", "a", "a:1e300b", "a:0b", "a:nanb"]);
        let billions: Vec<f64> = catalog.all().iter().map(|model| model.billions).collect();
        assert_eq!(billions, [70.0, 8.0, 8.0, 8.0, 8.0]);
        assert_eq!(catalog.find("a:70b").expect("installed").size, 39_375_000_000);
    }

    #[test]
    fn sizes_are_as_said_and_other_names_are_of_the_same_model() {
        let mut catalog = Catalog::new(["llama3.1", "qwen3"]);
        let size = |name: &str, size| (name.to_owned(), size);
        catalog.set_sizes(&[size("llama3.1", 7), size("mine:2b", 9), size("", 1)]);
        let copy = |alias: &str, name: &str| (alias.to_owned(), name.to_owned());
        catalog.copy(&[copy("helper", "llama3.1"), copy("other", "missing"), copy("", "qwen3")]);
        let names: Vec<&str> = catalog.all().iter().map(|model| model.key.short()).collect();
        assert_eq!(names, ["llama3.1:latest", "qwen3:latest", "mine:2b", "helper:latest"]);
        let of = |name| catalog.find(name).expect(name);
        assert_eq!([of("llama3.1").size, of("mine:2b").size, of("helper").size], [7, 9, 7]);
        assert_eq!(of("helper").digest(), of("llama3.1").digest());
        assert_ne!(of("helper").digest(), of("qwen3").digest());
    }

    #[test]
    fn invalid_and_repeated_names_are_left_out() {
        assert_eq!(Catalog::new(["a", "A:latest", "", "b c"]).all().len(), 1);
    }
}
