// The theme: light, dark, or that of the system.

const KEY = "llm-gateway-theme";
const NEXT = { auto: "light", light: "dark", dark: "auto" };
const WORDS = { auto: "Theme: auto", light: "Theme: light", dark: "Theme: dark" };

const button = document.getElementById("theme");

function use(theme) {
  document.documentElement.dataset.theme = theme;
  button.querySelector("span").textContent = WORDS[theme];
}

export function startTheme() {
  const kept = localStorage.getItem(KEY);
  use(kept in NEXT ? kept : "auto");
  button.addEventListener("click", () => {
    const theme = NEXT[document.documentElement.dataset.theme];
    localStorage.setItem(KEY, theme);
    use(theme);
  });
}
