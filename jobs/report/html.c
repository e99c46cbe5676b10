#include <math.h>
#include <stdio.h>
#include <string.h>

#include "jobs/report/report_impl.h"

// Colours by variables, so that the dark scheme and print change a few lines only.
const char vj_html_head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<style>\n"
    ":root{--bg:#fff;--fg:#1c1e21;--soft:#5c6470;--line:#d9dde3;--card:#f5f6f8;--warn:#b3261e;--good:#1b7f4d}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#14171a;--fg:#e8eaed;--soft:#a4adb8;--line:#343a41;--card:#1e2328;--warn:#ff8a80;--good:#6fd3a0}}\n"
    "*{box-sizing:border-box}body{margin:0 auto;max-width:1180px;padding:16px;background:var(--bg);color:var(--fg);"
    "font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}\n"
    "h1{font-size:1.5rem;margin:.2em 0 .6em}h2{font-size:1.15rem;margin:1.8em 0 .5em;border-bottom:1px solid var(--line);padding-bottom:.2em}h3{font-size:1rem;margin:1em 0 .3em}\n"
    "p{margin:.4em 0}small,.soft{color:var(--soft);font-size:.86rem}.warn{color:var(--warn)}.good{color:var(--good)}\n"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:12px}.card{background:var(--card);border-radius:8px;padding:12px 16px;min-width:0;overflow-wrap:anywhere}\n"
    ".grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:14px 20px}\n"
    "figure{margin:0;min-width:0;break-inside:avoid;display:flex;flex-direction:column}figcaption{font-weight:600;margin-bottom:2px;flex:1}figcaption small{font-weight:400;display:block}\n"
    "svg{width:100%;height:auto}.legend svg{width:26px;height:8px;vertical-align:middle}svg text{font-size:12.5px;fill:var(--soft)}\n"
    "svg .g{stroke:var(--line);stroke-width:1}svg .a{stroke:var(--soft);stroke-width:1}svg .k{stroke:var(--fg);stroke-width:1;stroke-dasharray:3 3}svg .w{fill:var(--warn)}\n"
    ".legend{font-size:.86rem;margin:.1em 0 0}.legend span{display:inline-block;margin-right:14px}\n"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}th,td{text-align:left;padding:3px 14px 3px 0;border-bottom:1px solid var(--line);vertical-align:top}"
    "td.t{overflow-wrap:anywhere}td.n{white-space:nowrap;text-align:right;font-variant-numeric:tabular-nums}tr.d td{background:var(--card);font-weight:600}\n"
    ".b{width:38%;vertical-align:middle}.bar{background:#0077bb;height:10px;border-radius:2px;min-width:1px;print-color-adjust:exact;-webkit-print-color-adjust:exact}\n"
    "img{max-width:100%;height:auto;display:block;image-rendering:auto;margin:2px 0 8px}img.px{image-rendering:pixelated}\n"
    "details summary{cursor:pointer}code{font-size:.9em;overflow-wrap:anywhere}td code{overflow-wrap:normal;white-space:nowrap}\n"
    // On a phone key, value and origin do not fit beside each other: the key has a line of its own there, as what a warning says has.
    // Nor do bars beside figures.
    "@media(max-width:560px){.b{display:none}th,td{padding-right:7px}table{font-size:.84rem}.conf,.conf tbody,.told,.told tbody{display:block}.conf tr,.told tr{display:flex;flex-wrap:wrap;border-bottom:1px solid var(--line)}"
    ".told th,.told td{border:0}.told td.n{min-width:2.6em}.told th:last-child,.told td:last-child{flex-basis:100%}.conf th,.conf td{border:0;flex:1 1 40%;overflow-wrap:anywhere;padding:0 8px 3px 0}.conf th:first-child,.conf td:first-child{flex-basis:100%;padding-top:3px}}\n"
    "@media print{html{font-size:11px}body{max-width:none;font-size:1rem}.grid{grid-template-columns:1fr 1fr}h2,h3{break-after:avoid}tr{break-inside:avoid}}\n"
    "</style>\n";

void vj_html_bytes(vj_str *out, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        switch (text[i]) {
        case '&': vj_str_add(out, "&amp;"); break;
        case '<': vj_str_add(out, "&lt;"); break;
        case '>': vj_str_add(out, "&gt;"); break;
        case '"': vj_str_add(out, "&quot;"); break;
        case '\'': vj_str_add(out, "&#39;"); break;
        default:
            if ((unsigned char)text[i] >= ' ' || text[i] == '\n' || text[i] == '\t') vj_str_add_n(out, text + i, 1);
        }
    }
}

void vj_html_text(vj_str *out, const char *text) { vj_html_bytes(out, text, strlen(text)); }

void vj_html_number(vj_str *out, double v)
{
    if (!isfinite(v)) vj_str_add(out, "\xe2\x80\x93");
    else vj_str_printf(out, "%.4g", v);
}
