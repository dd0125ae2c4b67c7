import "./style.css";
import { words } from "./words.js";

const heading = document.querySelector("h1");
heading.textContent = words;
// What is here is lost when the page is loaded anew, and kept when only a module is replaced.
document.querySelector("#kept").textContent = String(Math.random());

import.meta.hot?.accept("./words.js", (module) => {
  heading.textContent = module.words;
});
