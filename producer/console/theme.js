/* Light or dark, before anything is painted: a classic script, so that the page does not flash. */
"use strict";
(() => {
    const kept = localStorage.getItem("kickoff-theme");

    if (kept === "light" || kept === "dark")
        document.documentElement.dataset.theme = kept;
})();
