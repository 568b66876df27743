query => {
  // A query that names the visitor's own photos, with those that this tab of the browser keeps (keep.js).
  try {
    const photos = /(^|&)example=own(&|$)/.test(query) && sessionStorage.getItem('photos');
    return photos ? query + '&photos=' + encodeURIComponent(photos) : query;
  } catch { return query; }
}
