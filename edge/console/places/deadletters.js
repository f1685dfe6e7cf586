/** The place of the dead letters: `/console/deadletters` lists them, `/console/deadletters/<id>` is one. */

import { Letter } from "./deadletters/letter.js";
import { LetterList } from "./deadletters/list.js";

export default {
  styles: ["/console/places/deadletters.css"],
  open: (context, params) => (params.path[0] ? new Letter(context, params.path[0]) : new LetterList(context, params)),
};
