print("before");
var x = ;
