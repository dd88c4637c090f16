// Light or dark, before anything is painted: as the system has it, or as was chosen.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try { return localStorage.getItem("nos-theme") || "auto"; } catch { return "auto"; }
  };
  const show = () => {
    const theme = chosen();
    const root = document.documentElement;
    root.dataset.theme = theme === "auto" ? (dark.matches ? "dark" : "light") : theme;
    dispatchEvent(new Event("theme"));
  };
  dark.addEventListener("change", show);
  globalThis.nosTheme = {
    chosen,
    next() {
      const order = ["auto", "light", "dark"];
      const theme = order[(order.indexOf(chosen()) + 1) % order.length];
      try { localStorage.setItem("nos-theme", theme); } catch { /* it lasts as long as the page */ }
      show();
    },
  };
  show();
})();
