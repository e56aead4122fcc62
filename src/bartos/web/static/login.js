"use strict";
// Who comes by a link from elsewhere is logged in without this page having been told so: a cookie
// that is SameSite=Strict comes along only when this site itself asks.
const already = () => fetch(location.href, { credentials: "same-origin" }).then((answer) => {
  if (answer.redirected) location.replace(answer.url);
}).catch(() => {});
// A link that was used is not tried once more.
if (!new URLSearchParams(location.search).has("link")) already();
