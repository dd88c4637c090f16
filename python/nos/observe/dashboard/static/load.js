// A part of the page that did not come, as when a laptop changes its network meanwhile: the page is loaded anew, a few
// times, a little later each time.
(() => {
  const MOST = 5;
  const count = (value) => {
    try {
      if (value !== undefined) sessionStorage.setItem("nos-loads", value);
      return Number(sessionStorage.getItem("nos-loads"));
    } catch {
      return MOST; // nothing is remembered here: leave it to the reader
    }
  };
  let isWhole = true;
  addEventListener("error", ({ target }) => {
    const isNeeded = target instanceof HTMLScriptElement || (target instanceof HTMLLinkElement && target.rel === "stylesheet");
    if (!isNeeded) return;
    isWhole = false;
    const tries = count();
    if (tries >= MOST) return;
    count(tries + 1);
    setTimeout(() => location.reload(), 300 * (tries + 1));
  }, true);
  addEventListener("load", () => isWhole && count(0)); // every part has come, or has failed
})();
